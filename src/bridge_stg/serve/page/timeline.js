// One row per sentence: its windows, what they are worth, and two ends to drag.

import { colourOf, confidenceOf, setWindow } from "./tube.js";

export class Timeline {
  constructor(element, { onSeek, onChoose, onEdit }) {
    this.element = element;
    this.onSeek = onSeek;
    this.onChoose = onChoose;
    this.onEdit = onEdit;
    this.results = [];
    this.duration = 1;
    this.head = document.createElement("div");
    this.head.className = "playhead";
    element.addEventListener("pointerdown", (event) => this.#press(event));
  }

  show(results, chosen, duration) {
    this.results = results;
    this.duration = duration || 1;
    const rows = results.map((result, index) => this.#row(result, index, index === chosen));
    // A video without answers still has a row to seek in.
    if (!rows.length) rows.push(this.#bare());
    this.element.replaceChildren(...rows, this.head);
  }

  at(time) {
    this.head.style.left = `${(100 * Math.min(time, this.duration)) / this.duration}%`;
  }

  #bare() {
    const track = document.createElement("div");
    track.className = "track";
    return track;
  }

  #row(result, index, chosen) {
    const track = this.#bare();
    track.classList.toggle("chosen", chosen);
    track.dataset.index = index;
    if (result.status !== "ok" || !result.window) {
      const none = document.createElement("span");
      none.className = "none";
      none.textContent = "not found";
      track.append(none);
      return track;
    }

    // Second and later windows of an answer stand behind the best one.
    for (const other of (result.windows ?? []).slice(1)) track.append(this.#bar(other, index, "window other"));
    const bar = this.#bar(result.window, index, "window");
    const worth = confidenceOf(result);
    const label = document.createElement("span");
    label.className = "label";
    label.textContent = worth ? worth.value.toFixed(2) : "";
    bar.append(label);
    for (const end of ["start", "end"]) bar.append(this.#handle(result, end));
    track.append(bar);
    return track;
  }

  #bar(span, index, kind) {
    const bar = document.createElement("div");
    bar.className = kind;
    bar.style.left = `${(100 * span.start) / this.duration}%`;
    bar.style.width = `${(100 * (span.end - span.start)) / this.duration}%`;
    bar.style.background = colourOf(index);
    return bar;
  }

  #handle(result, end) {
    const handle = document.createElement("button");
    handle.type = "button";
    handle.className = `handle ${end}`;
    handle.dataset.end = end;
    handle.setAttribute("aria-label", `${end} of "${result.query}": ${result.window[end].toFixed(1)} s; arrow keys move it`);
    handle.addEventListener("keydown", (event) => {
      const way = { ArrowLeft: -0.1, ArrowRight: 0.1 }[event.key];
      if (!way) return;
      event.preventDefault();
      event.stopPropagation();
      this.#move(result, end, result.window[end] + way);
      this.onEdit();
      this.element.querySelector(`.track.chosen .handle.${end}`)?.focus();
    });
    return handle;
  }

  #move(result, end, time) {
    const { start, end: stop } = result.window;
    if (end === "start") setWindow(result, Math.min(time, stop - 0.04), stop);
    else setWindow(result, start, Math.max(time, start + 0.04));
  }

  #press(event) {
    const track = event.target.closest(".track");
    if (!track) return;
    event.preventDefault();
    const bounds = track.getBoundingClientRect();
    const moment = (one) => (this.duration * Math.min(Math.max(one.clientX - bounds.left, 0), bounds.width)) / bounds.width;
    const index = Number(track.dataset.index ?? -1);
    if (index >= 0) this.onChoose(index);

    const end = event.target.dataset.end;
    const result = this.results[index];
    const go = (one) => {
      if (end) {
        this.#move(result, end, moment(one));
        this.onEdit();
      }
      // The last frame of a window lies before its end.
      this.onSeek(end === "end" ? Math.max(0, result.window.end - 0.05) : end ? result.window.start : moment(one));
    };
    if (!end) go(event);
    const stop = () => {
      window.removeEventListener("pointermove", go);
      window.removeEventListener("pointerup", stop);
    };
    window.addEventListener("pointermove", go);
    window.addEventListener("pointerup", stop);
  }
}
