// The video with boxes on a canvas above it, redrawn for the very frame that is on screen.

import { boxAt, colourOf, framesPerSecond, isShown, setBox } from "./tube.js";

const GRIP = 10; // pixels around an edge in which a drag takes it

export class Player {
  constructor(video, canvas, { onTime, onEdit }) {
    this.video = video;
    this.canvas = canvas;
    this.onTime = onTime;
    this.onEdit = onEdit;
    this.results = [];
    this.chosen = 0;
    this.time = 0;
    this.drag = null;

    if ("requestVideoFrameCallback" in video) this.#followFrames();
    else for (const name of ["timeupdate", "seeked"]) video.addEventListener(name, () => this.#show(video.currentTime));
    for (const name of ["loadedmetadata", "seeked"]) video.addEventListener(name, () => this.draw());
    new ResizeObserver(() => this.draw()).observe(video);
    this.#listenForDrags();
  }

  open(url) {
    this.results = [];
    this.time = 0;
    this.video.src = url;
  }

  show(results, chosen) {
    this.results = results;
    this.chosen = chosen;
    this.draw();
  }

  seek(time) {
    const last = (this.video.duration || 0) - 0.001;
    this.video.currentTime = Math.max(0, Math.min(time, last));
  }

  step(frames) {
    const fps = this.results.length ? framesPerSecond(this.results[0]) : 30;
    this.video.pause();
    // Into the middle of a frame: its very beginning may round to the one before.
    this.seek((Math.round(this.time * fps) + frames + 0.5) / fps);
  }

  toggle() {
    // A pause that comes before the first frame ends the promise of play(): that is no error.
    if (this.video.paused) this.video.play().catch(() => {});
    else this.video.pause();
  }

  #followFrames() {
    this.video.requestVideoFrameCallback((_, frame) => {
      this.#show(frame.mediaTime);
      this.#followFrames();
    });
  }

  #show(time) {
    this.time = time;
    this.draw();
    this.onTime(time);
  }

  // Where the picture lies inside of the element, which can be wider or higher than it.
  #place() {
    const { videoWidth, videoHeight, clientWidth, clientHeight } = this.video;
    if (!videoWidth || !clientWidth) return null;
    const scale = Math.min(clientWidth / videoWidth, clientHeight / videoHeight);
    const [width, height] = [videoWidth * scale, videoHeight * scale];
    return { scale, width, height, left: (clientWidth - width) / 2, top: (clientHeight - height) / 2 };
  }

  draw() {
    const place = this.#place();
    if (!place) return;
    const dots = window.devicePixelRatio || 1;
    const { style } = this.canvas;
    [style.left, style.top] = [`${place.left}px`, `${place.top}px`];
    [style.width, style.height] = [`${place.width}px`, `${place.height}px`];
    const [width, height] = [Math.round(place.width * dots), Math.round(place.height * dots)];
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });

    const pen = this.canvas.getContext("2d");
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.setTransform(dots, 0, 0, dots, 0, 0);
    this.results.forEach((result, index) => {
      if (index !== this.chosen && isShown(result, this.time)) this.#drawBox(pen, place, result, index);
    });
    const chosen = this.results[this.chosen];
    if (chosen && isShown(chosen, this.time)) this.#drawBox(pen, place, chosen, this.chosen);
    this.canvas.dataset.time = this.time.toFixed(6);
  }

  #drawBox(pen, { scale }, result, index) {
    const { box, score } = boxAt(result, this.time);
    const [x1, y1, x2, y2] = box.map((value) => value * scale);
    pen.strokeStyle = pen.fillStyle = colourOf(index);
    pen.lineWidth = index === this.chosen ? 3 : 1.5;
    pen.strokeRect(x1, y1, x2 - x1, y2 - y1);

    // The number of the sentence and the score, above the box where there is room.
    const text = `${index + 1}  ${score.toFixed(2)}`;
    pen.font = "600 12px system-ui, sans-serif";
    const wide = pen.measureText(text).width + 8;
    const top = y1 >= 18 ? y1 - 17 : y1 + 2;
    pen.fillRect(x1, top, wide, 16);
    pen.fillStyle = "#10151b";
    pen.fillText(text, x1 + 4, top + 12);
  }

  #listenForDrags() {
    const point = (event) => {
      const bounds = this.canvas.getBoundingClientRect();
      const scale = this.#place().scale;
      return [(event.clientX - bounds.left) / scale, (event.clientY - bounds.top) / scale];
    };
    this.canvas.addEventListener("pointerdown", (event) => {
      const grip = this.#grip(...point(event));
      if (!grip) return this.toggle();
      this.video.pause();
      this.drag = { grip, from: point(event), box: boxAt(this.results[this.chosen], this.time).box };
      this.canvas.setPointerCapture(event.pointerId);
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!this.drag) {
        this.canvas.style.cursor = this.#place() && this.#grip(...point(event)) ? "move" : "default";
        return;
      }
      const [x, y] = point(event);
      const moved = this.#moved(x - this.drag.from[0], y - this.drag.from[1]);
      setBox(this.results[this.chosen], this.time, moved);
      this.draw();
    });
    const end = () => {
      if (this.drag) this.onEdit();
      this.drag = null;
    };
    this.canvas.addEventListener("pointerup", end);
    this.canvas.addEventListener("pointercancel", end);
  }

  // Which sides of the chosen box a drag from here takes: all of them inside of it.
  #grip(x, y) {
    const result = this.results[this.chosen];
    if (!result || !isShown(result, this.time)) return null;
    const reach = GRIP / this.#place().scale;
    const [x1, y1, x2, y2] = boxAt(result, this.time).box;
    if (x < x1 - reach || x > x2 + reach || y < y1 - reach || y > y2 + reach) return null;
    const near = (a, b) => Math.abs(a - b) <= reach;
    const sides = [near(x, x1), near(y, y1), near(x, x2), near(y, y2)];
    return sides.some(Boolean) ? sides : [true, true, true, true];
  }

  #moved(dx, dy) {
    const { grip, box } = this.drag;
    const { videoWidth: width, videoHeight: height } = this.video;
    const whole = grip.every(Boolean);
    // A box that is moved as a whole stops at the border with its size.
    if (whole) {
      dx = Math.min(Math.max(dx, -box[0]), width - box[2]);
      dy = Math.min(Math.max(dy, -box[1]), height - box[3]);
    }
    const at = box.map((value, side) => (grip[side] ? value + (side % 2 ? dy : dx) : value));
    const [left, right] = [Math.min(at[0], at[2] - 2), Math.max(at[2], at[0] + 2)];
    const [top, bottom] = [Math.min(at[1], at[3] - 2), Math.max(at[3], at[1] + 2)];
    return [Math.max(0, left), Math.max(0, top), Math.min(width, right), Math.min(height, bottom)];
  }
}
