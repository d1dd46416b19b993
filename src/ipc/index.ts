export { type CallOptions, callJson } from "./client.ts";
export { type Call, type Endpoint, endpoint, serving } from "./server.ts";
