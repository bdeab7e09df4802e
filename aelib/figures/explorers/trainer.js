// The copying machine's arithmetic: fully connected layers, their gradients, Adam, and the book's
// measures. It knows no page, so it runs in a worker, in the page's own thread, and in a test.
function trainer() {
  "use strict";

  // Even numbers in [0, 1), the same for the same seed (mulberry32).
  function uniform(seed) {
    return function () {
      seed = (seed + 0x6d2b79f5) | 0;
      let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
  }

  function normal(n, random) { // by Box and Muller
    return Float32Array.from({ length: n }, () =>
      Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random()));
  }

  // out[to + j] += Σ values[c] · from[places[c] + j], for j below m. All products of a net with
  // its inputs come down to this loop; four rows at a time spare it three of four loads and stores.
  function accumulate(out, to, m, from, places, values, count) {
    let c = 0;
    for (; c + 3 < count; c += 4) {
      const v0 = values[c], v1 = values[c + 1], v2 = values[c + 2], v3 = values[c + 3];
      const p0 = places[c], p1 = places[c + 1], p2 = places[c + 2], p3 = places[c + 3];
      for (let j = 0; j < m; j++) {
        out[to + j] += v0 * from[p0 + j] + v1 * from[p1 + j] + v2 * from[p2 + j] + v3 * from[p3 + j];
      }
    }
    for (; c < count; c++) {
      const v = values[c], p = places[c];
      for (let j = 0; j < m; j++) out[to + j] += v * from[p + j];
    }
  }

  function dot(a, from, b, at, m) { // four sums, which do not wait for one another
    let s0 = 0, s1 = 0, s2 = 0, s3 = 0, j = 0;
    for (; j + 3 < m; j += 4) {
      s0 += a[from + j] * b[at + j];
      s1 += a[from + j + 1] * b[at + j + 1];
      s2 += a[from + j + 2] * b[at + j + 2];
      s3 += a[from + j + 3] * b[at + j + 3];
    }
    for (; j < m; j++) s0 += a[from + j] * b[at + j];
    return s0 + s1 + s2 + s3;
  }

  // d → width → … → width → d with ReLU between, and `skip` times the input added to the output:
  // aelib's MLPAutoencoder, started as PyTorch starts it, times `gain`.
  class Net {
    constructor({ pixels, depth, width, skip = 0, gain = 1, seed = 0 }) {
      this.sizes = [pixels, ...Array(depth).fill(width), pixels];
      this.skip = skip;
      this.steps = 0;
      let count = 0;
      this.layers = this.sizes.slice(1).map((m, l) => {
        const n = this.sizes[l], weight = count, bias = count + n * m;
        count += n * m + m;
        return { n, m, weight, bias }; // a weight matrix lies row by row, one row an input
      });
      // One long array each, so that Adam and a safe copy are one line.
      [this.parameters, this.gradient, this.first, this.second] = Array.from(
        { length: 4 }, () => new Float32Array(count));
      const random = uniform(seed);
      for (const { n, weight, bias, m } of this.layers) {
        const bound = gain / Math.sqrt(n);
        for (let i = weight; i < bias + m; i++) this.parameters[i] = bound * (2 * random() - 1);
      }
      const most = Math.max(...this.sizes, 256);
      this.places = new Int32Array(most);
      this.values = new Float64Array(most);
    }

    // All layers' activations for `count` images that lie one after the other.
    forward(images, count) {
      const w = this.parameters, { places, values } = this, all = [images];
      this.layers.forEach(({ n, m, weight, bias }, l) => {
        const a = all[l], out = new Float32Array(count * m);
        for (let i = 0; i < count; i++) {
          let active = 0;
          for (let k = 0; k < n; k++) {
            const value = a[i * n + k];
            if (value !== 0) { places[active] = weight + k * m; values[active++] = value; }
          }
          out.set(w.subarray(bias, bias + m), i * m);
          accumulate(out, i * m, m, w, places, values, active);
        }
        if (l < this.layers.length - 1) {
          for (let i = 0; i < out.length; i++) if (out[i] < 0) out[i] = 0;
        } else if (this.skip) {
          for (let i = 0; i < out.length; i++) out[i] += this.skip * images[i];
        }
        all.push(out);
      });
      return all;
    }

    copy(images, count = images.length / this.sizes[0]) {
      return this.forward(images, count)[this.layers.length];
    }

    // The mean squared error over pixels and images; its gradient goes into `this.gradient`.
    backward(inputs, targets, count) {
      const all = this.forward(inputs, count), w = this.parameters, out = all[all.length - 1];
      let errors = new Float32Array(out.length), loss = 0;
      for (let i = 0; i < out.length; i++) {
        const miss = out[i] - targets[i];
        loss += miss * miss;
        errors[i] = 2 * miss / out.length;
      }
      this.gradient.fill(0);
      for (let l = this.layers.length - 1; l >= 0; l--) {
        const { n, m, weight, bias } = this.layers[l], before = all[l];
        const below = l ? new Float32Array(count * n) : null;
        for (let i = 0; i < count; i++) {
          for (let j = 0; j < m; j++) this.gradient[bias + j] += errors[i * m + j];
        }
        for (let k = 0; k < n; k++) {
          let active = 0;
          for (let i = 0; i < count; i++) {
            const value = before[i * n + k];
            if (value === 0) continue; // a ReLU that is off passes nothing, in both directions
            this.places[active] = i * m;
            this.values[active++] = value;
            if (l) below[i * n + k] = dot(w, weight + k * m, errors, i * m, m);
          }
          accumulate(this.gradient, weight + k * m, m, errors, this.places, this.values, active);
        }
        errors = below;
      }
      return loss / out.length;
    }

    // One step of Adam, as torch.optim.Adam does it by default. Returns the loss before the step.
    step(inputs, targets, count, rate) {
      const loss = this.backward(inputs, targets, count);
      const { parameters, gradient, first, second } = this;
      this.steps++;
      const speed = rate / (1 - 0.9 ** this.steps), scale = 1 / (1 - 0.999 ** this.steps);
      for (let i = 0; i < parameters.length; i++) {
        const g = gradient[i];
        first[i] += 0.1 * (g - first[i]);
        second[i] += 0.001 * (g * g - second[i]);
        parameters[i] -= speed * first[i] / (Math.sqrt(second[i] * scale) + 1e-8);
      }
      return loss;
    }

    state() {
      const { steps, parameters, first, second } = this;
      return { steps, arrays: [parameters, first, second].map((array) => array.slice()) };
    }

    restore({ steps, arrays }) {
      this.steps = steps;
      [this.parameters, this.first, this.second].forEach((array, i) => array.set(arrays[i]));
    }
  }

  // ---------------------------------------------------------------- measures, as aelib.measures

  const squares = (a, from, d) => dot(a, from, a, from, d);

  function distance(a, from, b, at, d) { // squared
    let sum = 0;
    for (let j = 0; j < d; j++) sum += (a[from + j] - b[at + j]) ** 2;
    return sum;
  }

  const plus = (images, noise) => images.map((value, i) => value + noise[i]);

  function over(images, d, ofOne) { // the mean over images
    let sum = 0;
    for (let at = 0; at < images.length; at += d) sum += ofOne(at);
    return sum / (images.length / d);
  }

  // κ and τ, the mean over images: how the output answers to noise.
  function response(net, images, noise, clean = net.copy(images)) {
    const d = net.sizes[0], noisy = net.copy(plus(images, noise));
    const change = noisy.map((value, i) => value - clean[i]);
    return {
      copy: over(images, d, (at) => dot(change, at, noise, at, d) / squares(noise, at, d)),
      transmission: over(images, d, (at) => squares(change, at, d) / squares(noise, at, d)),
    };
  }

  // The denoising gain in decibels, the mean over images.
  function gain(net, images, noise) {
    const d = net.sizes[0], out = net.copy(plus(images, noise));
    return over(images, d, (at) =>
      10 * Math.log10(squares(noise, at, d) / distance(out, at, images, at, d)));
  }

  // The error of the copies as a share of the images' own variance.
  function missed(net, images, copies = net.copy(images)) {
    const d = net.sizes[0], mean = new Float64Array(d);
    images.forEach((value, i) => { mean[i % d] += value * d / images.length; });
    const errors = over(images, d, (at) => distance(copies, at, images, at, d));
    return errors / over(images, d, (at) => distance(images, at, mean, 0, d));
  }

  function iterate(net, images, times) {
    let now = images;
    for (let t = 0; t < times; t++) {
      const before = now;
      now = net.copy(before);
      if (now.every((value, i) => value === before[i])) break; // it rests
    }
    return now;
  }

  // The training image on which each end came down: its number, or −1. As aelib's `memory`: within
  // 5 % of its length, and, where starts are given, not where the start stood already.
  function fallenOnto(ends, starts, training, d) {
    const lengths = [];
    for (let t = 0; t < training.length; t += d) lengths.push(squares(training, t, d));
    return Array.from({ length: ends.length / d }, (_, i) => {
      let nearest = -1, least = Infinity;
      lengths.forEach((length, t) => {
        const gap = distance(ends, i * d, training, t * d, d) / length;
        if (gap < least) { least = gap; nearest = t; }
      });
      const near = (gap) => gap <= 0.05 ** 2;
      const stood = starts && near(least)
        && near(distance(starts, i * d, training, nearest * d, d) / lengths[nearest]);
      const came = near(least) && !stood;
      return came ? nearest : -1;
    });
  }

  return { Net, uniform, normal, response, gain, missed, iterate, fallenOnto };
}
