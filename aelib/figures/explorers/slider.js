// A slider turns picture, alt text and value together; a screen reader hears where it stops.
awaken("explorer", function (root, part, frames) {
  const picture = root.querySelector("img");
  frames[0].src = picture.src; // it stands in the page already
  const slider = root.querySelector("input");
  const output = root.querySelector("output");
  const speak = speaker(root);

  slider.addEventListener("input", function () {
    const frame = frames[Number(slider.value)];
    picture.src = frame.src;
    picture.alt = frame.alt;
    output.textContent = frame.text;
    slider.setAttribute("aria-valuetext", frame.text);
    speak(() => frame.alt);
  });
  part("controls").hidden = false;
  part("still").hidden = true;
});
