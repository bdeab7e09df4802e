// A slider turns picture, alt text and value together; a screen reader hears where it stops.
(function () {
  "use strict";

  function wake(root) {
    root.setAttribute("data-awake", "");
    const part = (name) => root.querySelector('[data-part="' + name + '"]');
    const frames = JSON.parse(part("data").textContent);
    const picture = root.querySelector("img");
    frames[0].src = picture.src; // it stands in the page already
    const slider = root.querySelector("input");
    const output = root.querySelector("output");
    let timer;

    slider.addEventListener("input", function () {
      const frame = frames[Number(slider.value)];
      picture.src = frame.src;
      picture.alt = frame.alt;
      output.textContent = frame.text;
      slider.setAttribute("aria-valuetext", frame.text);
      clearTimeout(timer); // it hears the last value, not the way there
      timer = setTimeout(function () { part("spoken").textContent = frame.alt; }, 600);
    });
    part("controls").hidden = false;
    part("still").hidden = true;
  }

  document.querySelectorAll(".aelib-explorer:not([data-awake])").forEach(wake);
})();
