export { type Attempt, ENOUGH, type Step, type StepHistory, type StepTime, slowestStep } from "./attempt.ts";
export type {
  BootAssets,
  BootConfig,
  BootEvent,
  BootIntent,
  BootInterface,
  BootPlane,
  BootRecord,
  InstallerHello,
  LeaseView,
  RefusalView,
  Sign,
  Stage,
} from "./contract.ts";
export { checkInterfaces, type HostAddress } from "./interfaces.ts";
export { type BootPlaneOptions, createBootPlane, netbootingFile } from "./plane.ts";
export { checkBound, inheritedSockets, type Sockets, socketArguments } from "./sockets.ts";
