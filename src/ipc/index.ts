export { type CallOptions, callJson } from "./client.ts";
export { type Call, type Endpoint, endpoint, type ServingOptions, serving } from "./server.ts";
