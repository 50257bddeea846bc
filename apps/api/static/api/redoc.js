// Redoc's "API docs by Redocly" shows a picture from elsewhere, and no option turns it off. The page
// must ask nothing of anybody: such a picture is never requested, but fails at once, and Redoc
// leaves a picture that fails out.
const picture = HTMLImageElement.prototype;
const source = Object.getOwnPropertyDescriptor(picture, "src");
picture.setAttribute = function setAttribute(name, value) {
  const host = name === "src" ? new URL(value, location.href).host : "";
  if (host && host !== location.host) queueMicrotask(() => this.dispatchEvent(new Event("error")));
  else Element.prototype.setAttribute.call(this, name, value);
};
Object.defineProperty(picture, "src", {
  ...source,
  set(value) {
    this.setAttribute("src", value);
  },
});

// Redoc loads its fonts from elsewhere unless told which to use; the page must work offline.
const place = document.getElementById("redoc");
const fonts = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";
const mono = "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace";

Redoc.init(
  place.dataset.schema,
  {
    hideDownloadButton: false,
    theme: {
      typography: {
        fontFamily: fonts,
        headings: { fontFamily: fonts },
        code: { fontFamily: mono },
      },
    },
  },
  place,
);
