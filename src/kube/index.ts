export { type ConnectOptions, connectKube } from "./client.ts";
export { installCrds } from "./crds.ts";
export { type EventRecorder, eventRecorder } from "./events.ts";
export {
  apiVersionOf,
  type DeleteOptions,
  type Eviction,
  type Kube,
  type ListOptions,
  pathOf,
  type RawOptions,
  type WatchEvent,
  type WatchOptions,
} from "./kube.ts";
export * from "./pod.ts";
export { keyOf, type Reflector, type ReflectorOptions, reflector } from "./reflector.ts";
export { installRoles } from "./roles.ts";
export * from "./upstream.ts";
