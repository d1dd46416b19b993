export { defaultRack, namespaceOf, type Rack, readRack } from "./config.ts";
export { rackDown } from "./down.ts";
export type { Line } from "./paper/line.ts";
export { bootPaperRack, type PaperRackOptions, type PaperRun } from "./paper/rack.ts";
export { type Boot, type Fault, type PaperServer, paperServers } from "./paper/server.ts";
export { type Misbehaviour, type RedfishService, redfishService } from "./redfish.ts";
export type { RackStatus, ServerStatus } from "./status.ts";
export { rackPower, rackStatus, rackUp } from "./up.ts";
