// Passkeys need the browser's help; without this file, or without passkeys, their forms stay hidden.

const isAble = Boolean(window.PublicKeyCredential?.parseRequestOptionsFromJSON);

async function answerTo(question) {
  const { publicKey } = await (await fetch(question, { headers: { Accept: "application/json" } })).json();
  const credential = publicKey.user
    ? await navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(publicKey) })
    : await navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(publicKey) });
  return JSON.stringify(credential.toJSON());
}

for (const form of isAble ? document.querySelectorAll("form[data-passkey]") : []) {
  form.hidden = false;
  form.parentElement.querySelector("[data-no-passkey]")?.remove();
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const said = form.querySelector("[role=status]");
    said.textContent = "";
    try {
      form.elements.answer.value = await answerTo(form.dataset.passkey);
    } catch {
      said.textContent = form.dataset.failed;
      return;
    }
    form.submit();
  });
}
