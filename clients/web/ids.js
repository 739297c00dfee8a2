// Random ids.

// 32 hex digits; not by crypto.randomUUID, which plain http on another host does not have
export const newId = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

export const newDeviceId = () => `web-${newId().slice(0, 12)}`;
