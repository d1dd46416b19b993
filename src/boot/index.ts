export type {
  BootAssets,
  BootConfig,
  BootEvent,
  BootIntent,
  BootInterface,
  BootPlane,
  BootRecord,
  InstallerHello,
  Stage,
} from "./contract.ts";
export { type BootPlaneOptions, createBootPlane } from "./plane.ts";
export { inheritedSockets, type Sockets, socketArguments } from "./sockets.ts";
