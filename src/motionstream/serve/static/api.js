// Plain HTTP: what the studio asks for outside of its socket. A token in the page's address goes along with every request.

import { sentence } from "./ui.js";

export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

const KEY = "motionstream.token"; // one that was typed outlives a reload, in this tab

let token = new URLSearchParams(location.search).get("token") || "";
try {
  token ||= sessionStorage.getItem(KEY) || "";
} catch { /* no storage */ }

export function setToken(value) {
  token = value;
  try {
    sessionStorage.setItem(KEY, value);
  } catch { /* no storage */ }
}
export function getToken() { return token; }

/** Address of `path` relative to the page, so that the studio also works below a prefix. */
export function address(path, query = {}) {
  const url = new URL(path.replace(/^\//, ""), document.baseURI);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  if (token) url.searchParams.set("token", token);
  return url;
}

export function socketAddress() {
  const url = address("ws");
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.searchParams.delete("token"); // it goes into the first message
  return url.href;
}

const SENTENCES = {
  401: "This studio needs a token.",
  403: "The token was not accepted.",
  404: "The server no longer has this.",
  413: "This file is larger than the server takes.",
  415: "This is not a PNG, JPEG or WebP picture.",
};

async function request(path, options = {}, query = {}) {
  let response;
  try {
    response = await fetch(address(path, query), options);
  } catch {
    throw new ApiError("The server did not answer. Is it still running?", 0);
  }
  if (response.ok) return response;
  let words = SENTENCES[response.status] || `The server answered with error ${response.status}.`;
  try {
    const body = await response.json();
    if (typeof body.error === "string") words = body.error;
    else if (typeof body.detail === "string") words = body.detail;
  } catch { /* no JSON: the words above stand */ }
  throw new ApiError(sentence(words), response.status);
}

const json = async (path, options) => (await request(path, options)).json();

export const presets = () => json("api/presets");
export const gallery = () => json("api/gallery");
export const limits = () => json("api/limits");
export const health = () => json("health");
export const uploadPicture = (blob) => json("api/pictures", { method: "POST", body: blob, headers: { "Content-Type": blob.type || "application/octet-stream" } });
export const depths = () => json("api/depths");
export const uploadDepth = (blob) => json("api/depths", { method: "POST", body: blob, headers: { "Content-Type": "application/octet-stream" } });
export const uploadTake = (text) => json("api/takes", { method: "POST", body: text, headers: { "Content-Type": "application/json" } });
export const frameBlob = async (take, frame) => (await request(`api/takes/${take}/frames/${frame}.jpg`)).blob();
export const takeBlob = async (take) => (await request(`api/takes/${take}.json`)).blob();
export const videoBlob = async (take, tracks) => (await request(`api/takes/${take}.mp4`, {}, { tracks: tracks ? 1 : 0 })).blob();

/** Offer a blob as a download. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
