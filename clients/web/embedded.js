// The chat inside another page: its markup and its style are those of index.html.

export {}; // a module: it awaits

const text = await (await fetch("index.html")).text();
const { head, body } = new DOMParser().parseFromString(text, "text/html");
document.head.append(...head.querySelectorAll('meta[name], link:not([rel="manifest"])'));
document.body.append(...body.children);
await import("./app.js");
