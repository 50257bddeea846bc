// Figures that move. The page is right without this file; it spares a reload.
//
// [data-live] is the address to listen at; it shows how the connection stands. Messages move
// [data-usage] at once. Whatever else follows from them (costs, charts, what is left) stands in
// [data-part]: those are fetched with the page itself, seldom, so that sums have one author.

const RETRY = { first: 500, longest: 5000 };
const REFRESH_EVERY = 5000;
const SOCKET_TRIES = 2; // after which the other way is tried, for networks that know HTTP only
const REFUSALS = new Set([4400, 4401, 4403, 4404]);
const QUIET = new Set(["connected", "ping"]);

class Line {
  // Listens at an address and goes on where it was cut. `hear` gets messages, `show` the state.
  constructor(address, hear, show) {
    Object.assign(this, { address, hear, show, last: "", failures: 0, heartbeat: 15 });
  }

  open() {
    this.close();
    const twin = Math.floor(this.failures / SOCKET_TRIES) % 2 === 1;
    const address = new URL(this.address);
    address.searchParams.set("last_id", this.last);
    this.link = twin ? this.#stream(address) : this.#socket(address);
    this.#expect();
  }

  close() {
    clearTimeout(this.timer);
    this.link?.close();
    this.link = null;
  }

  #socket(address) {
    address.protocol = address.protocol.replace("http", "ws");
    const socket = new WebSocket(address);
    socket.onmessage = (event) => this.#heard(event.data);
    socket.onclose = (event) => socket === this.link && this.#cut(REFUSALS.has(event.code));
    return socket;
  }

  #stream(address) {
    address.pathname = address.pathname.replace("/ws/", "/sse/");
    const source = new EventSource(address, { withCredentials: true });
    source.onmessage = (event) => this.#heard(event.data);
    source.onerror = () => source === this.link && this.#cut(false);
    return source;
  }

  #heard(text) {
    const message = JSON.parse(text);
    if (message.type === "connected") {
      this.heartbeat = message.data.heartbeat;
    }
    this.failures = 0;
    this.last = message.id;
    this.show("on");
    this.#expect();
    this.hear(message);
  }

  // A connection that says nothing for longer than its heartbeat is dead, whatever it looks like.
  #expect() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#cut(false), this.heartbeat * 2500);
  }

  #cut(refused) {
    this.close();
    this.failures += 1;
    this.show(refused ? "refused" : "off");
    if (!refused) {
      const pause = Math.min(RETRY.first * 2 ** (this.failures - 1), RETRY.longest);
      this.timer = setTimeout(() => this.open(), pause * (0.5 + Math.random()));
    }
  }
}

class Page {
  constructor(dot) {
    Object.assign(this, { dot, due: null, refreshed: 0 });
    this.numbers = new Intl.NumberFormat(dot.dataset.locale, { maximumFractionDigits: 12 });
    this.line = new Line(dot.dataset.live, (message) => this.hear(message), (state) => this.show(state));
    addEventListener("pagehide", () => this.line.close());
    addEventListener("pageshow", (event) => event.persisted && this.line.open());
    document.addEventListener("visibilitychange", () => this.due && this.refresh());
    this.line.open();
  }

  show(state) {
    if (this.dot.dataset.state !== state) {
      this.dot.dataset.state = state;
      this.dot.hidden = state === "refused";
      this.dot.lastElementChild.textContent = this.dot.dataset[state] ?? "";
    }
  }

  hear({ type, data }) {
    const moved = type === "usage.updated" ? this.move(data.usage) : !QUIET.has(type);
    if (moved && document.querySelector("[data-part]")) {
      this.refresh();
    }
  }

  move(usage) {
    let moved = false;
    for (const one of usage) {
      const name = CSS.escape(`${one.subscription_id}:${one.item}`);
      for (const place of document.querySelectorAll(`[data-usage=${name}]`)) {
        const said = `${one.quantity} ${one.event_count}`;
        if (place.dataset.said !== said) {
          moved = true;
          place.dataset.said = said;
          this.write(place, "quantity", one.quantity);
          this.write(place, "events", String(one.event_count));
        }
      }
    }
    return moved;
  }

  write(place, figure, value) {
    for (const shown of place.querySelectorAll(`[data-figure=${figure}]`)) {
      shown.textContent = this.numbers.format(value);
      shown.classList.remove("moved");
      shown.getBoundingClientRect(); // begins the animation anew
      shown.classList.add("moved");
    }
  }

  // At once when the last time was long ago; else as soon as it is, and not for a hidden page.
  refresh() {
    const wait = this.refreshed + REFRESH_EVERY - Date.now();
    clearTimeout(this.due);
    this.due = setTimeout(() => document.hidden || this.fetch(), Math.max(0, wait));
  }

  async fetch() {
    Object.assign(this, { due: null, refreshed: Date.now() });
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok || answer.redirected) {
      return;
    }
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-part]")) {
      const other = fresh.querySelector(`[data-part=${CSS.escape(part.dataset.part)}]`);
      if (other && !part.contains(document.activeElement)) {
        part.replaceChildren(...document.importNode(other, true).childNodes);
        part.className = other.className;
        Object.assign(part.dataset, other.dataset);
      }
    }
  }
}

for (const dot of document.querySelectorAll("[data-live]")) {
  new Page(dot);
}
