// Small helpers for elements. Text from people is only ever set as text.

/** @type {(id: string) => any} the page knows what its elements are */
export const $ = (id) => document.getElementById(id);

/**
 * An element with attributes and children; `text` is its text.
 * @param {string} tag
 * @param {Record<string, any>} attributes
 * @param {...(Node | string)} children
 */
export function make(tag, { text, ...attributes } = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  element.append(...children);
  return element;
}

// A symbol of index.html, which says nothing to a screen reader.
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", "icon");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

// Lets `parent` hold exactly these elements, in order. One that is in its place is not touched, so
// it keeps the focus and the selection.
export function arrange(parent, wanted) {
  const kept = new Set(wanted);
  for (const child of [...parent.children]) if (!kept.has(child)) child.remove();
  let place = parent.firstElementChild;
  for (const element of wanted) {
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
  }
}

// Sets a text that has changed; a screen reader is not told of one that has not.
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
