// Stands behind each place of a widget, and fills it before the page is first painted.
"use strict";

(() => {
  const place = document.currentScript.previousElementSibling;
  globalThis[place.dataset.program]?.start(place);
})();
