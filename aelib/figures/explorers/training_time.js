// A linear autoencoder trained for a time t, in closed form: drag the time, draw a digit.
awaken("training_time", function (root, part, data) {
  const { normal, uniform } = trainer();
  const mean = halves(data.mean), { project, picture } = basis(halves(data.directions), mean);
  const variances = data.variances, k = variances.length;
  const presets = bytes(data.presets), d = mean.length, speak = speaker(root);
  let clean = null, noise, seed = 1, pending = false;
  const low = Number(part("time").min), high = Number(part("time").max);

  const net = (t) => variances.map((variance) => -Math.expm1(-variance * t)); // 1 − e^(−λt)
  const wiener = (sigma) => variances.map((variance) => variance / (variance + sigma ** 2));
  const passed = (parts, shares) => picture(parts.map((part, i) => part * shares[i]));
  const filtered = (image, shares) => passed(project(image), shares);

  // Decibels, over digits of these variances in the mean.
  const gain = (shares, sigma) => -10 * Math.log10(variances.reduce((sum, variance, i) =>
    sum + (1 - shares[i]) ** 2 * variance / sigma ** 2 + shares[i] ** 2, 0) / k);
  // Decibels on one digit, of which the parts are known, clean and noisy.
  const gainOn = (clean, noisy, shares) => -10 * Math.log10(
    clean.reduce((sum, part, i) => sum + (shares[i] * noisy[i] - part) ** 2, 0)
    / clean.reduce((sum, part, i) => sum + (noisy[i] - part) ** 2, 0));

  // ------------------------------------------------------------ what is in sight

  const NAMES = ["noisy", "net at t", "taken away", "Wiener filter"];
  const cells = NAMES.map(function (words) {
    const box = element(part("cells"), "div", { className: "shot" });
    const canvas = sized(element(box, "canvas"), data.shape);
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", words);
    return { canvas, label: element(box, "span", { textContent: words }) };
  });
  const charts = [0, 1].map(function () {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 340 190");
    svg.setAttribute("role", "img");
    return part("charts").appendChild(svg);
  });

  const NOTCHES = Array.from({ length: high - low + 1 }, (_, i) => low + i); // of the slider
  const timeAt = (notch) => 10 ** (notch / 20); // 20 of them a decade
  const time = () => timeAt(Number(part("time").value));
  const short = (t) => String(Number(t.toPrecision(2)));

  // Curves in a frame; `x` and `y` turn data into dots.
  const line = (values, x, y, rest) => `<polyline ${rest} points="${
    values.map((value, i) => `${x(i).toFixed(1)},${y(value).toFixed(1)}`).join(" ")}"/>`;
  const words = (x, y, text, rest = "") => `<text x="${x}" y="${y}" ${rest}>${text}</text>`;

  function frame(svg, title, ticksX, ticksY, inside, label) {
    const across = ticksY.map(([at, text]) => `<path d="M38 ${at}H322" class="grid"/>`
      + words(34, at + 4, text, 'text-anchor="end"'));
    const along = ticksX.map(([at, text]) => words(at, 182, text, 'text-anchor="middle"'));
    svg.innerHTML = `<g font-size="12">${words(8, 15, title, 'font-weight="600"')}`
      + `${across.join("")}${along.join("")}${inside}</g>`;
    svg.setAttribute("aria-label", label);
  }

  function curves(t, sigma) {
    const shown = Math.min(120, k), y = (share) => 166 - 138 * share;
    const x = (i) => 38 + 284 * i / (shown - 1), own = net(t).slice(0, shown);
    const best = wiener(sigma).slice(0, shown);
    frame(charts[0], "share kept, by direction",
      [1, 40, 80, 120].filter((i) => i <= shown).map((i) => [x(i - 1), i]),
      [[y(0), "0"], [y(0.5), "0.5"], [y(1), "1"]],
      line(best, x, y, 'class="curve" stroke-dasharray="6 4"')
      + line(own, x, y, 'class="curve a"')
      + words(240, 44, "net", 'class="a" font-weight="600"')
      + words(270, 44, "- - Wiener"),
      `Share kept by direction: the net keeps ${own[0].toFixed(2)} of the first and`
      + ` ${own[shown - 1].toFixed(2)} of number ${shown}, the Wiener filter`
      + ` ${best[0].toFixed(2)} and ${best[shown - 1].toFixed(2)}.`);
    const gains = NOTCHES.map((notch) => gain(net(timeAt(notch)), sigma));
    const top = gain(wiener(sigma), sigma), ceiling = 5 * Math.ceil(top / 5);
    const floor = 5 * Math.floor(Math.max(-10, Math.min(0, ...gains)) / 5);
    const at = (i) => 38 + 284 * i / (high - low);
    const up = (value) => 166 - 138 * (clamp(value, floor, ceiling) - floor) / (ceiling - floor);
    const here = Number(part("time").value) - low;
    frame(charts[1], "noise removed, in dB, over all digits",
      [0.1, 1, 10, 100, 1000].filter((value) => 20 * Math.log10(value) <= high)
        .map((value) => [at(20 * Math.log10(value) - low), value]),
      [...new Set([floor, 0, ceiling])].map((value) => [up(value), signed(value, 0)]),
      `<path d="M38 ${up(top)}H322" class="curve" stroke-dasharray="6 4"/>`
      + line(gains, at, up, 'class="curve a"')
      + `<circle cx="${at(here)}" cy="${up(gains[here])}" r="5.5" style="fill:var(--b)"/>`,
      `Noise removed over training time: ${signed(gains[here], 1)} dB now, at most`
      + ` ${signed(Math.max(...gains), 1)} dB; the Wiener filter ${signed(top, 1)} dB.`);
    return [gains[here], top];
  }

  // Of this digit: how the gain now stands to the net's own best, and that to the filter's.
  function verdict(t, now, gains, filter) {
    const most = Math.max(...gains), bestTime = timeAt(low + gains.indexOf(most));
    const its = `its best on this digit is ${signed(most, 1)} dB, at t\u00a0=\u00a0${short(bestTime)}.`;
    if (now < most - 0.2) {
      return t < bestTime ? `Early for this digit: weaker directions are still to come; ${its}`
        : `Late for this digit: it copies the noise as well; ${its}`;
    }
    return `In time: as good as this net gets on this digit, within 0.2 dB${now > filter - 0.2
      ? ", and as good as the best linear filter." : "; the Wiener filter does better."}`;
  }

  function draw() {
    pending = false;
    const t = time(), sigma = Number(part("sigma").value);
    part("t").textContent = short(t);
    part("s").textContent = sigma;
    part("time").setAttribute("aria-valuetext", `training time ${short(t)}`);
    const [mine, best] = curves(t, sigma);
    const over = ` Over all digits ${signed(mine, 1)} dB; the Wiener filter ${signed(best, 1)} dB.`;
    cells.forEach(({ canvas, label }, i) => {
      canvas.style.visibility = clean ? "visible" : "hidden";
      label.textContent = NAMES[i];
    });
    if (clean) {
      const noisy = clean.map((value, i) => value + sigma * noise[i]);
      const parts = project(noisy), ideal = project(clean);
      const copied = passed(parts, net(t)), cleaned = passed(parts, wiener(sigma));
      const taken = noisy.map((value, i) => 0.5 + (value - copied[i]) / 2);
      [noisy, copied, taken, cleaned].forEach((image, i) => paint(cells[i].canvas, image));
      const gains = NOTCHES.map((notch) => gainOn(ideal, parts, net(timeAt(notch))));
      const now = gainOn(ideal, parts, net(t)), filter = gainOn(ideal, parts, wiener(sigma));
      cells[1].label.textContent = `net at t = ${short(t)}: ${signed(now, 1)} dB`;
      cells[3].label.textContent = `Wiener filter: ${signed(filter, 1)} dB`;
      part("finding").textContent = verdict(t, now, gains, filter) + over;
    } else part("finding").textContent = `The pad is empty: draw a digit, or take one.${over}`;
    speak(() => part("finding").textContent);
  }

  function redraw() {
    if (!pending) { pending = true; requestAnimationFrame(draw); }
  }

  // ------------------------------------------------------------ controls

  const pad = sketch(part("pad"), data.shape, (image) => { clean = image; redraw(); }, 1.7);
  const take = (i) => Float32Array.from(presets.subarray(i * d, i * d + d), (value) => value / 255);
  data.names.forEach(function (name, i) {
    const button = element(part("presets"), "button", { type: "button" });
    button.setAttribute("aria-label", `A ${name}`);
    paint(sized(element(button, "canvas"), data.shape), take(i));
    button.addEventListener("click", () => { clean = take(i); pad.set(clean); redraw(); });
  });
  part("clear").addEventListener("click", pad.clear);
  part("again").addEventListener("click", () => { shake(); redraw(); });
  for (const name of ["time", "sigma"]) part(name).addEventListener("input", redraw);

  function shake() {
    noise = normal(d, uniform(seed));
    seed += 1;
  }
  shake();
  clean = take(0);
  pad.set(clean);
  root.tools = { net, wiener, filtered, gain };
  part("controls").hidden = false;
  part("still").hidden = true;
  draw();
});
