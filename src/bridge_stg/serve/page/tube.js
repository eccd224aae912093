// What a tube/1 object says at a moment: the same rules as the annotated video that the library writes.

export const COLOURS = ["#ffb000", "#4fb3ff", "#ff6fa8", "#4fd18b", "#c79bff", "#ff8a4c"];

export function colourOf(index) {
  return COLOURS[index % COLOURS.length];
}

export function framesPerSecond(result) {
  const [top, bottom] = String(result.video_info.fps).split("/").map(Number);
  return top / (bottom || 1);
}

// Times of frames come from the browser, those of windows from JSON: a rounding error is no frame.
const SLACK = 1e-4;

// The best window first; an event can happen more than once.
export function spansOf(result) {
  if (result.status !== "ok" || !result.window) return [];
  return [result.window, ...(result.windows ?? []).slice(1)];
}

function spanAt(result, time) {
  const shown = 1 / framesPerSecond(result);
  return spansOf(result).find((span) => {
    if (time >= span.start - SLACK && time < span.end - SLACK) return true;
    // A window between two frames stands on the one that is on screen at its middle.
    const middle = (span.start + span.end) / 2;
    return span.end - span.start < shown && time <= middle && middle < time + shown;
  });
}

export function isShown(result, time) {
  return result.boxes.length > 0 && spanAt(result, time) !== undefined;
}

// Linear between two boxes, the nearest one before the first and after the last of the window.
export function boxAt(result, time) {
  const span = spanAt(result, time);
  const inside = result.boxes.filter((one) => span && one.time >= span.start - SLACK && one.time < span.end);
  const boxes = spansOf(result).length > 1 && inside.length ? inside : result.boxes;
  const after = boxes.findIndex((one) => one.time >= time);
  if (after === 0) return { box: [...boxes[0].box], score: boxes[0].score };
  if (after < 0) {
    const last = boxes[boxes.length - 1];
    return { box: [...last.box], score: last.score };
  }
  const [left, right] = [boxes[after - 1], boxes[after]];
  const share = (time - left.time) / (right.time - left.time);
  const mix = (a, b) => a + (b - a) * share;
  return { box: left.box.map((value, side) => mix(value, right.box[side])), score: mix(left.score, right.score) };
}

// A person's box replaces the one of its frame, or becomes a new point between two others.
export function setBox(result, time, box) {
  const frame = Math.min(Math.round(time * framesPerSecond(result)), result.video_info.frames - 1);
  const kept = result.boxes.filter((one) => one.frame !== frame);
  kept.push({ time: round(time, 6), frame, box: box.map((value) => round(value, 3)), score: 1 });
  kept.sort((a, b) => a.frame - b.frame);
  result.boxes = kept;
  markEdited(result);
}

export function setWindow(result, start, end) {
  const shortest = 1 / framesPerSecond(result);
  const duration = result.video_info.duration;
  const from = Math.max(0, Math.min(start, duration - shortest));
  result.window = { start: round(from, 3), end: round(Math.min(duration, Math.max(end, from + shortest)), 3) };
  result.windows = [{ ...result.window, score: 1 }, ...(result.windows ?? []).slice(1)];
  result.confidence = 1; // that of the best window
  markEdited(result);
}

// For a sentence that was not found: a person says where it is.
export function addByHand(result, time) {
  const { width, height, duration } = result.video_info;
  result.status = "ok";
  setWindow(result, time, Math.min(time + 1, duration));
  setBox(result, time, [0.3 * width, 0.3 * height, 0.7 * width, 0.7 * height]);
}

export function confidenceOf(result) {
  if (typeof result.confidence === "number") return { value: result.confidence, name: "confidence" };
  if (!result.boxes.length) return null;
  const sum = result.boxes.reduce((total, one) => total + one.score, 0);
  return { value: sum / result.boxes.length, name: "mean box score" };
}

function markEdited(result) {
  const note = "corrected by hand";
  result.notes = result.notes ?? [];
  if (!result.notes.includes(note)) result.notes.push(note);
}

export function isEdited(result) {
  return (result.notes ?? []).includes("corrected by hand");
}

function round(value, digits) {
  return Number(value.toFixed(digits));
}
