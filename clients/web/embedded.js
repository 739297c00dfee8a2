// The chat inside another page: its markup is that of index.html.

const text = await (await fetch("index.html")).text();
document.body.append(...new DOMParser().parseFromString(text, "text/html").body.children);
await import("./app.js");
