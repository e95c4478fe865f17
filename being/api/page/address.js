// Addresses of the server, wherever its page lies: under a path of its own, or behind a proxy that adds one.

const ROOT = new URL("../", import.meta.url);

export function address(path) {
  return new URL(path, ROOT);
}

export function socketAddress(path) {
  const url = address(path);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url;
}
