// One copying machine at work: it takes orders, trains between them in short slices, and reports
// what the net makes of its images. It runs in a worker or, where there is none, in the page's own
// thread; so it never holds the thread for longer than a slice and one step.
function session(tools, data, post, slice) {
  "use strict";
  const { Net, uniform, normal, response, gain, missed, iterate, fallenOnto } = tools;
  const d = data.pixels, TAUGHT = 4, FRESH = 24, NOISE = 2, BATCH = 32, WILD = 100;
  const MORE = 20000; // steps after an experiment's own, if nobody pauses
  const RESTS = -1, AWAY = -2, MOVES = -3; // what became of those that landed on no taught image
  const LEVELS = [0.1, 0.2, 0.5]; // of noise, in grey levels; κ and τ are measured at the first
  const grey = (bytes) => Float32Array.from(bytes, (value) => value / 255);
  const train = grey(data.train), fresh = grey(data.test).subarray(0, FRESH * d);
  const even = (count, seed) => Float32Array.from({ length: count * d }, uniform(seed));
  const noise = even(NOISE, 2), pure = even(TAUGHT, 3);
  const added = LEVELS.map((sigma, i) => normal(fresh.length, uniform(4 + i)).map((e) => sigma * e));

  let settings, net, random, safe, history, loss, diverged;
  let drawing = null, times = 128, fall, last, fell = { took: 0, at: 0 };
  let playing = false, until = Infinity, speed = Infinity, timer = null, reported = 0;
  let next = 0, clock; // when the next step is due; how many were made since when
  const wind = () => { clock = { since: performance.now(), done: 0, rate: 0 }; };

  const taught = () => (settings.noise ? pure : train.subarray(0, Math.min(settings.count, TAUGHT) * d));
  const training = () => train.subarray(0, settings.noise ? 0 : settings.count * d);

  function joined(...parts) {
    const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
    parts.reduce((at, part) => { all.set(part, at); return at + part.length; }, 0);
    return all;
  }

  const shown = () => joined(taught(), fresh, noise, drawing || []);

  // ---------------------------------------------------------------- training

  function batch() {
    const count = settings.noise ? BATCH : Math.min(settings.count, BATCH);
    const images = new Float32Array(count * d);
    for (let i = 0; i < count; i++) {
      if (settings.noise) break;
      const k = settings.count <= BATCH ? i : Math.floor(random() * settings.count);
      images.set(train.subarray(k * d, k * d + d), i * d);
    }
    if (settings.noise) images.forEach((_, i) => { images[i] = random(); });
    if (!settings.sigma) return [images, images, count];
    const e = normal(images.length, random);
    return [images.map((value, i) => value + settings.sigma * e[i]), images, count];
  }

  function step() {
    const [inputs, targets, count] = batch();
    loss = net.step(inputs, targets, count, settings.rate);
    clock.done++;
    next = Math.max(next, performance.now() - 50) + 1000 / speed;
    if (!(loss < WILD)) return recover(); // also when it is no number any more
    if (history.length < 2 || net.steps >= 1.2 * history[history.length - 1].step) record();
    if (net.steps >= until) playing = false;
  }

  function recover() { // the last state that gave sane copies is kept
    diverged = net.steps;
    playing = false;
    net.restore(safe);
    fall = { left: 0 }; // what was last seen is to be looked at anew
    history = history.filter((point) => point.step <= net.steps);
    loss = history[history.length - 1].loss;
  }

  function measured() {
    const clean = net.copy(fresh), error = clean.reduce(
      (sum, value, i) => sum + (value - fresh[i]) ** 2, 0) / clean.length;
    return {
      step: net.steps, loss, error, missed: missed(net, fresh, clean),
      ...response(net, fresh, added[0], clean),
      gains: added.map((e) => gain(net, fresh, e)),
    };
  }

  const record = () => history.push(measured());

  // ---------------------------------------------------------------- what the net makes of things

  function report() {
    reported = performance.now();
    const inputs = shown(), copies = net.copy(inputs);
    if (copies.every((value) => Math.abs(value) < WILD)) safe = net.state();
    const newest = last && last.point.step > history[history.length - 1].step ? [last.point] : [];
    post({
      step: net.steps, loss, playing, diverged, inputs, copies, levels: LEVELS,
      history: [...history, ...newest], ended: !playing && net.steps >= until,
      groups: [taught().length, FRESH * d, NOISE * d, drawing ? d : 0].map((size) => size / d),
      rate: clock.rate, behind: clock.rate < 0.7 * speed, speed,
      fall: last, // the last of this net that came to its end; and is it of what is shown?
      checked: !playing && last === fall && last.point.step === net.steps,
    });
    diverged = null;
  }

  function letFall() {
    const inputs = shown();
    fall = { inputs, now: inputs, left: times, times, started: performance.now(), point: measured() };
  }

  function fallOnce() {
    const before = fall.now;
    fall.now = iterate(net, before, 1);
    const rests = fall.now.every((value, i) => value === before[i]);
    fall.left = rests ? 0 : fall.left - 1;
    if (fall.left > 0) return;
    fell = { at: performance.now(), took: performance.now() - fall.started };
    fall = last = {
      left: 0, times: fall.times, point: fall.point, ends: fall.now,
      onto: landings(fall.inputs, fall.now),
    };
    report();
  }

  // The taught image on which each end came down, or what became of it. Taught ones may stay.
  function landings(inputs, ends) {
    const own = taught().length, next = net.copy(ends);
    return [
      ...fallenOnto(ends.subarray(0, own), null, training(), d),
      ...fallenOnto(ends.subarray(own), inputs.subarray(own), training(), d),
    ].map((number, i) => {
      if (number >= 0) return number;
      const end = ends.subarray(i * d, i * d + d);
      if (!end.every((value) => Math.abs(value) < WILD)) return AWAY;
      const moved = end.reduce((sum, value, j) => sum + (next[i * d + j] - value) ** 2, 0);
      return moved < 1e-4 * end.reduce((sum, value) => sum + value ** 2, 0) ? RESTS : MOVES;
    });
  }

  // ---------------------------------------------------------------- time

  const due = () => performance.now() >= next;

  function work() {
    timer = null;
    const end = performance.now() + slice;
    let now;
    while ((now = performance.now()) < end) {
      if (fall.left > 0) fallOnce();
      else if (!playing) break;
      else if (now - fell.at > 4 * fell.took + 300) letFall(); // a fifth of the time at most
      else if (due()) step();
      else break;
    }
    if (now - clock.since > Math.max(1000, 5000 / speed)) {
      clock = { since: now, done: 0, rate: 1000 * clock.done / (now - clock.since) };
    }
    if (!playing && fall.left === 0 && (!fall.point || fall.point.step !== net.steps)) {
      refresh();
      return;
    }
    if (now - reported > 80) report();
    if (playing || fall.left > 0) plan(playing && fall.left <= 0 && !due() ? 20 : 0);
  }

  function plan(delay) {
    if (timer === null) timer = setTimeout(work, delay);
  }

  function refresh() { // after an order or at the end of training: everything anew
    letFall();
    report();
    plan(0);
  }

  const orders = {
    start(wanted) {
      settings = wanted;
      net = new Net({ pixels: d, seed: 1, ...settings });
      random = uniform(7);
      [playing, until, last] = [false, Infinity, null];
      [history, loss, diverged, safe] = [[], NaN, null, net.state()];
      wind();
      record();
      refresh();
    },
    train() { // to the experiment's end, or from there on
      playing = true;
      until = net.steps < settings.goal ? settings.goal : net.steps + MORE;
      wind();
      plan(0);
    },
    pause() { [playing, until] = [false, Infinity]; refresh(); },
    step() { [playing, until] = [false, Infinity]; step(); refresh(); },
    speed(wanted) { [speed, next] = [wanted, 0]; wind(); },
    rate(wanted) { settings.rate = wanted; },
    again(wanted) { times = wanted; refresh(); },
    draw(pixels) { drawing = pixels; refresh(); },
  };

  return ({ order, value }) => orders[order](value);
}
