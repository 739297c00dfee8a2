/** Elements, and numbers as people read them. Nothing here knows what is shown. */

/**
 * An element. What it holds becomes text, never markup.
 * @param {string} name
 * @param {Record<string, string>} attributes
 * @param {...(Node | string)} inside
 */
export function el(name, attributes = {}, ...inside) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...inside);
  return made;
}

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 100, HEIGHT = 30;

/**
 * A small plot of some values, the newest at the right, from 0 up to the largest.
 * @param {number[]} values
 * @param {string} label
 */
export function plot(values, label) {
  const svg = document.createElementNS(SVG, "svg");
  const most = Math.max(...values, 1e-9);
  const largest = values.length ? number(Math.max(...values)) : "nothing yet";
  for (const [key, value] of Object.entries({
    class: "plot", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img",
    "aria-label": `${label}, the last five minutes; the largest: ${largest}`,
  })) svg.setAttribute(key, value);
  const step = WIDTH / Math.max(1, values.length - 1);
  const points = values.map((value, i) => `${(i * step).toFixed(2)},${(HEIGHT - 1 - (value / most) * (HEIGHT - 3)).toFixed(2)}`);
  shape("path", { class: "base", d: `M0,${HEIGHT - 0.5}H${WIDTH}` });
  if (points.length > 1) {
    shape("path", { class: "area", d: `M0,${HEIGHT}L${points.join("L")}L${WIDTH},${HEIGHT}Z` });
    shape("path", { class: "line", d: `M${points.join("L")}` });
  }
  return svg;

  /** @param {string} name @param {Record<string, string>} attributes */
  function shape(name, attributes) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    svg.append(made);
  }
}

/** @param {number} value */
export function number(value) {
  if (value >= 10_000_000) return `${(value / 1e6).toFixed(0)} M`;
  if (value >= 100_000) return `${(value / 1000).toFixed(0)} k`;
  return value >= 10 || Number.isInteger(value) ? Math.round(value).toLocaleString("en") : value.toFixed(1);
}

/** @param {number} seconds */
export function span(seconds) {
  if (seconds < 120) return `${Math.max(0, Math.round(seconds))} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} days`;
}
