// The portal works without this file. It only spares a reload, or a selection with the mouse.

const root = document.documentElement;

function remember(theme) {
  const secure = location.protocol === "https:" ? "; secure" : "";
  document.cookie = `theme=${theme}; path=/; max-age=31536000; samesite=lax${secure}`;
  root.dataset.theme = theme;
  for (const button of document.querySelectorAll(".themes button")) {
    button.setAttribute("aria-pressed", String(button.value === theme));
  }
}

document.addEventListener("submit", (event) => {
  const button = event.submitter;
  if (event.target.matches(".themes") && button?.name === "theme") {
    event.preventDefault();
    remember(button.value);
  }
});

for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent.trim());
    button.querySelector("span").textContent = button.dataset.copied;
  });
}

for (const box of document.querySelectorAll("[data-tax-id]")) {
  const form = box.closest("form");
  const judge = async () => {
    const asked = new URLSearchParams({ tax_id: form.tax_id.value, country: form.country.value });
    const answer = await fetch(`${box.dataset.taxId}?${asked}`);
    if (answer.ok && !answer.redirected) {
      box.querySelector("[role=status]").textContent = await answer.text();
    }
  };
  form.tax_id.addEventListener("change", judge);
  form.country.addEventListener("change", judge);
}
