// The service worker: the page opens without a network. It keeps one version of the page's files
// whole, and gives them only when the network gives none, so nobody sees an old page while there is
// a network. The gateway puts FILES before this: the name of each file → its digest. So a new
// version of any file is a new version of this worker, and files of two versions (of two gateways,
// during an upgrade) never come into one set.

const worker = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (self));
const PREFIX = "messenger-page-";
const PATIENCE = 4000; // ms that the network has
const AWAY = [502, 503, 504]; // what a proxy says when there is no gateway

const version = async () => {
  const bytes = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(JSON.stringify(FILES)));
  return PREFIX + [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
};

const address = (name) => new URL(name, location.href).href;

async function install() {
  const cache = await caches.open(await version());
  await Promise.all(Object.entries(FILES).map(async ([name, integrity]) => {
    const answer = await fetch(address(name), { integrity, cache: "no-cache" });
    if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
    await cache.put(address(name), answer);
  }));
  await worker.skipWaiting();
}

// The page's files of earlier versions go. Pages of theirs that are still open have all they need.
async function activate() {
  const current = await version();
  const names = (await caches.keys()).filter((name) => name.startsWith(PREFIX) && name !== current);
  await Promise.all(names.map((name) => caches.delete(name)));
  await worker.clients.claim();
}

async function answer(request, name) {
  try {
    const given = await fetch(request, { signal: AbortSignal.timeout(PATIENCE) });
    if (!AWAY.includes(given.status)) return given;
  } catch {
    // no network, or none that answers
  }
  const cache = await caches.open(await version());
  return (await cache.match(address(name))) ?? Response.error();
}

// The file that a request is for, null if it is not one of the page's.
function fileOf(request) {
  const { origin, pathname } = new URL(request.url);
  const folder = new URL("./", location.href);
  if (request.method !== "GET" || origin !== folder.origin || !pathname.startsWith(folder.pathname)) return null;
  const name = pathname.slice(folder.pathname.length) || "index.html";
  return name in FILES ? name : null;
}

worker.addEventListener("install", (event) => event.waitUntil(install()));
worker.addEventListener("activate", (event) => event.waitUntil(activate()));
worker.addEventListener("fetch", (event) => {
  const name = fileOf(event.request);
  if (name !== null) event.respondWith(answer(event.request, name));
});
