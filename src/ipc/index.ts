export { type CallOptions, callJson } from "./client.ts";
export { type Endpoint, endpoint, serving } from "./server.ts";
