import type { Logger } from "pino";
import type { Clock } from "../core/clock.ts";
import type { Kind, Resource } from "../core/resources.ts";
import type { Kube } from "./kube.ts";

export interface ReflectorOptions<T extends Resource> {
  readonly kube: Kube;
  readonly kind: Kind<T>;
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  readonly log: Logger;
  readonly clock: Clock;
  /** Something about this key changed, or it is gone. Never called before the first list is complete in the store. */
  onChange?(key: string): void;
}

/** A local, eventually consistent copy of a collection. It never stops for good: after any error it tries again. */
export interface Reflector<T extends Resource> {
  /** Resolves when the first list is in the store; rejects only when stopped before that. */
  start(): Promise<void>;
  stop(): Promise<void>;
  /** `name`, or `namespace/name` for a namespaced kind. Objects are frozen views: copy before you change. */
  get(key: string): T | undefined;
  list(): readonly T[];
  keys(): readonly string[];
  /** Milliseconds since the apiserver last said anything (an event, a bookmark, a list): how old the copy may be. */
  age(): number;
}

/** The key a reflector stores an object under. */
export function keyOf(object: Resource): string {
  const { namespace, name } = object.metadata;
  return namespace ? `${namespace}/${name}` : name;
}

export function reflector<T extends Resource>(_options: ReflectorOptions<T>): Reflector<T> {
  throw new Error("coming within the hour");
}
