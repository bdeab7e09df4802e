// A copier with a code of two numbers, applied again and again: drop a point, and watch it walk.
const CALM = window.matchMedia && matchMedia("(prefers-reduced-motion: reduce)").matches;

awaken("attractors", function (root, part, data) {
  const { picture, project } = basis(halves(data.directions), halves(data.mean));
  const map = part("map"), pen = map.getContext("2d"), size = map.width;
  const speak = speaker(root), names = Object.keys(data.stages);
  let taught = names[0], stage, point = null, drawn = null, walk, shown, frame = null, under;
  let view = { corner: [0, 0], span: 1 }; // the part of the square in sight, in shares of it
  let look; // colours of the page, light or dark

  const stages = Object.fromEntries(names.map((name) => [name, data.stages[name].map((one) => {
    const decode = network(one.decoder, halves(one.decoder_weights));
    const encode = network(one.encoder, halves(one.encoder_weights));
    return {
      ...one, decode, encode, basins: bytes(one.basins), labels: bytes(one.labels),
      codes: new Uint16Array(bytes(one.codes).buffer),
      step: (code) => encode(decode(code)),
      to: (share) => Array.from(share, (at, axis) => one.corner[axis] + one.side * at),
      from: (code) => Array.from(code, (at, axis) => (at - one.corner[axis]) / one.side),
    };
  })]));
  const draws = (code) => picture(stage.decode(code));
  const dot = (share) => { // from the lower left
    const [x, y] = share.map((at, axis) => (at - view.corner[axis]) / view.span);
    return [x * size, (1 - y) * size];
  };

  // ------------------------------------------------------------ the map

  const tint = (basin) =>
    `hsl(${(basin * 137.5) % 360} ${look.dark ? "45% 24" : `70% ${basin % 2 ? 84 : 90}`}%)`;

  function dress() {
    const dark = document.documentElement.dataset.theme === "dark";
    const style = getComputedStyle(map);
    look = { dark, ink: style.color, paper: style.backgroundColor, faint: dark ? "#4a4f57" : data.faint };
    [look.arrow, look.trail] = ["--a", "--b"].map((name) => style.getPropertyValue(name));
  }

  function drawMap() { // all but the walk
    under = sized(document.createElement("canvas"), [size, size]);
    const on = under.getContext("2d"), across = Math.sqrt(stage.basins.length);
    const cell = size / across / view.span, basin = (x, y) => stage.basins[y * across + x];
    on.fillStyle = look.paper;
    on.fillRect(0, 0, size, size);
    for (let y = 0; y < across; y++) {
      for (let x = 0; x < across; x++) {
        const [left, top] = dot([x / across, (y + 1) / across]);
        if (basin(x, y) !== 255) {
          on.fillStyle = tint(basin(x, y));
          on.fillRect(left, top, cell + 0.5, cell + 0.5);
        }
        on.fillStyle = look.faint;
        if (x + 1 < across && basin(x, y) !== basin(x + 1, y)) on.fillRect(left + cell, top, 1.5, cell);
        if (y + 1 < across && basin(x, y) !== basin(x, y + 1)) on.fillRect(left, top, cell, 1.5);
      }
    }
    on.font = "15px sans-serif";
    on.textAlign = "center";
    on.textBaseline = "middle";
    on.fillStyle = look.ink;
    on.globalAlpha = 0.6;
    stage.labels.forEach(function (label, i) {
      on.fillText(label, ...dot([stage.codes[2 * i] / 65535, stage.codes[2 * i + 1] / 65535]));
    });
    on.globalAlpha = 1;
    const arrows = 18;
    on.strokeStyle = on.fillStyle = look.arrow;
    on.lineWidth = 2;
    for (let i = 0; i < arrows * arrows; i++) {
      const from = [i % arrows + 0.5, Math.floor(i / arrows) + 0.5].map(
        (at, axis) => view.corner[axis] + view.span * at / arrows);
      const to = stage.from(stage.step(stage.to(from)));
      const by = [to[0] - from[0], to[1] - from[1]], far = Math.hypot(...by);
      const length = Math.min(0.9 / arrows, 0.35 * Math.sqrt(far / arrows)); // faint pulls show, too
      arrow(on, dot(from), dot(from.map((at, axis) => at + view.span * by[axis] * length / (far || 1))));
    }
    for (const code of stage.others) cross(on, dot(stage.from(code)));
    stage.attractors.forEach(function (code, i) {
      const at = dot(stage.from(code));
      if (stage.taught[i]) disc(on, at, 13, look.ink);
      disc(on, at, stage.taught[i] ? 11 : 9, look.paper);
      disc(on, at, 7, look.ink);
    });
    axes(on);
  }

  function axes(on) { // numbers along the lower and the left edge
    const rough = stage.side * view.span / 5, ten = 10 ** Math.floor(Math.log10(rough));
    const unit = ten * [1, 2, 5, 10].find((times) => times * ten >= rough);
    const words = (value) => signed(value, Math.max(0, -Math.floor(Math.log10(unit))));
    on.fillStyle = look.ink;
    on.font = "20px sans-serif";
    for (const axis of [0, 1]) {
      const least = stage.corner[axis] + stage.side * view.corner[axis];
      for (let n = Math.ceil(least / unit + 0.2); n * unit < least + stage.side * view.span * 0.95; n++) {
        const at = dot([0, 1].map((one) => (one === axis
          ? (n * unit - stage.corner[axis]) / stage.side : view.corner[one])));
        on.textAlign = axis ? "left" : "center";
        on.fillText(words(n * unit), at[0] + (axis ? 6 : 0), at[1] - (axis ? 0 : 14));
      }
    }
  }

  function arrow(on, [x0, y0], [x1, y1]) {
    const angle = Math.atan2(y1 - y0, x1 - x0), tip = Math.min(7, Math.hypot(x1 - x0, y1 - y0));
    on.beginPath();
    on.moveTo(x0, y0);
    on.lineTo(x1, y1);
    for (const side of [-0.5, 0.5]) {
      on.moveTo(x1, y1);
      on.lineTo(x1 - tip * Math.cos(angle + side), y1 - tip * Math.sin(angle + side));
    }
    on.stroke();
  }

  function disc(on, [x, y], radius, color) {
    on.beginPath();
    on.arc(x, y, radius, 0, 7);
    on.fillStyle = color;
    on.fill();
  }

  function cross(on, [x, y]) {
    on.save();
    on.beginPath();
    for (const side of [-5, 5]) { on.moveTo(x - 5, y - side); on.lineTo(x + 5, y + side); }
    on.strokeStyle = look.ink;
    on.stroke();
    on.restore();
  }

  // ------------------------------------------------------------ the walk

  // Codes on the way, until it rests or has gone far enough, and which attractor it came to.
  function walkFrom(code) {
    const path = [Array.from(code)];
    while (path.length <= data.times) {
      const now = path[path.length - 1], next = Array.from(stage.step(now));
      path.push(next);
      if (Math.hypot(next[0] - now[0], next[1] - now[1]) < 1e-6 * stage.side) break;
    }
    const end = path[path.length - 1];
    const far = stage.attractors.map((at) => Math.hypot(at[0] - end[0], at[1] - end[1]));
    const onto = far.indexOf(Math.min(...far));
    const near = path.findIndex((code) => onto >= 0
      && Math.hypot(code[0] - stage.attractors[onto][0], code[1] - stage.attractors[onto][1])
        < 0.02 * stage.side);
    return { path, onto: near < 0 ? -1 : onto, times: near };
  }

  function drawWalk() {
    frame = null;
    const { path, onto, times } = walk, last = onto < 0 ? path.length - 1 : Math.max(times, 1);
    shown = CALM ? last : Math.min(last, shown + Math.max(1, Math.ceil(last / 90)));
    pen.drawImage(under, 0, 0);
    pen.strokeStyle = look.trail;
    pen.lineWidth = 4;
    pen.beginPath();
    path.slice(0, shown + 1).forEach((code) => pen.lineTo(...dot(stage.from(code))));
    pen.stroke();
    for (const code of path.slice(1, shown)) disc(pen, dot(stage.from(code)), 4, look.trail);
    disc(pen, dot(stage.from(path[0])), 12, look.paper);
    disc(pen, dot(stage.from(path[0])), 9, look.trail);
    disc(pen, dot(stage.from(path[shown])), 8, look.trail);
    paint(three[1].canvas, draws(path[shown]));
    three[1].label.textContent = `after ${often(shown)}`;
    if (shown < last) { frame = requestAnimationFrame(drawWalk); return; }
    if (onto >= 0) paint(three[2].canvas, draws(stage.attractors[onto]));
    three[2].canvas.style.visibility = onto < 0 ? "hidden" : "visible";
    three[2].label.textContent = onto < 0 ? "" : stage.taught[onto] ? "attractor, taught" : "attractor";
    for (const [i, canvas] of [...part("all").children].entries()) {
      canvas.className = i === onto ? "landed" : "";
    }
    part("words").textContent = onto < 0
      ? `Still under way after ${often(path.length - 1)}, on no attractor: here the field is faint.`
      : `It is on an attractor after ${often(times)}`
        + ` (code ${stage.attractors[onto].map((at) => signed(at, 1)).join(", ")}), which draws`
        + (stage.taught[onto] ? " a digit that it was taught." : " no digit that it was taught.");
    speak(() => `${part("words").textContent} ${part("finding").textContent}`);
  }

  function drop(code) { // a walk begins here
    walk = walkFrom(code);
    shown = 0;
    paint(three[0].canvas, draws(code));
    three[0].label.textContent = drawn ? "your digit, copied" : "the point";
    three[2].canvas.style.visibility = "hidden";
    three[2].label.textContent = "";
    part("words").textContent = "On its way…";
    if (frame === null) frame = requestAnimationFrame(drawWalk);
  }

  function move(share) {
    [point, drawn] = [share.map((at) => clamp(at, 0, 1)), null];
    drop(stage.to(point));
  }

  function zoom() { // three times, about where the walk began; or the whole again
    const [x, y] = stage.from(walk.path[0]), span = 1 / 3;
    view = view.span < 1 ? { corner: [0, 0], span: 1 }
      : { corner: [x, y].map((at) => clamp(at - span / 2, 0, 1 - span)), span };
    part("zoom").textContent = view.span < 1 ? "Whole map" : "Zoom in on the point";
    drawMap();
    if (frame === null) frame = requestAnimationFrame(drawWalk);
  }

  // ------------------------------------------------------------ what it was taught, and how long

  function turn() { // to another net
    part("time").max = stages[taught].length - 1;
    stage = stages[taught][Number(part("time").value)];
    const steps = said(stage.steps), count = stage.attractors.length;
    part("steps").textContent = steps;
    part("time").setAttribute("aria-valuetext", `${steps} training steps`);
    for (const button of part("taught").children) {
      button.setAttribute("aria-pressed", button.textContent === taught);
    }
    const known = stage.taught.filter(Boolean).length;
    part("finding").textContent = `Taught ${taught}, after ${steps} steps: ${count}`
      + ` attractor${count === 1 ? "" : "s"}, ${known || "none"} of them a digit that it was taught`
      + `${known ? " (ringed)" : ""}. What ${count === 1 ? "it looks" : "they look"} like:`;
    part("all").replaceChildren();
    stage.attractors.forEach((code, i) => {
      const canvas = sized(element(part("all"), "canvas"), data.shape);
      paint(canvas, draws(code));
      canvas.dataset.taught = Boolean(stage.taught[i]);
    });
    part("all").setAttribute("aria-label", `What the decoder draws at ${count} attractors, ${known} of which are taught digits.`);
    drawMap();
    if (drawn) drop(stage.encode(project(drawn)));
    else drop(stage.to(point));
  }

  const three = ["the point", "after 0 times", "attractor"].map(function (words) {
    const box = element(part("three"), "div");
    return {
      canvas: sized(element(box, "canvas"), data.shape),
      label: element(box, "span", { textContent: words }),
    };
  });
  three.forEach(({ canvas, label }) => {
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `What the decoder draws: ${label.textContent}.`);
  });
  for (const name of names) {
    element(part("taught"), "button", { type: "button", textContent: name })
      .addEventListener("click", () => { taught = name; turn(); });
  }
  const time = part("time");
  time.value = time.max = stages[taught].length - 1;
  time.addEventListener("input", turn);
  drag(map, ([x, y]) => move([x, 1 - y].map((at, axis) => view.corner[axis] + view.span * at)));
  part("zoom").addEventListener("click", zoom);
  map.addEventListener("keydown", function (event) {
    const by = ARROWS[event.key], step = event.shiftKey ? 0.1 : 0.02;
    if (!by) return;
    event.preventDefault();
    const from = drawn ? stage.from(walk.path[0]) : point;
    move([from[0] + view.span * step * by[0], from[1] - view.span * step * by[1]]);
  });
  const pad = sketch(part("pad"), data.shape, function (image) {
    part("blank").hidden = image !== null;
    if (image === null) return;
    drawn = image;
    drop(stage.encode(project(image)));
  }, 2);
  part("clear").addEventListener("click", pad.clear);
  point = data.start;
  root.nets = stages; // for a test
  root.basis = { picture, project };
  dress();
  turn();
  new MutationObserver(function () { dress(); turn(); })
    .observe(document.documentElement, { attributeFilter: ["data-theme"] });
  part("controls").hidden = false;
  part("still").hidden = true;
});
