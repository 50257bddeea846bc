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
