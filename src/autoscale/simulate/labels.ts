import {
  LABEL_BLOCK,
  LABEL_HOSTNAME,
  LABEL_INSTANCE_TYPE,
  LABEL_LEAF,
  LABEL_NODEPOOL,
  LABEL_NVLINK,
  LABEL_RACK,
  LABEL_SITE,
} from "../../core/names.ts";

/** The short keys of a scenario and the labels they stand for. */
const SHORT: ReadonlyMap<string, string> = new Map([
  ["zone", LABEL_SITE],
  ["site", LABEL_SITE],
  ["region", "topology.kubernetes.io/region"],
  ["rack", LABEL_RACK],
  ["block", LABEL_BLOCK],
  ["leaf", LABEL_LEAF],
  ["nvl", LABEL_NVLINK],
  ["host", LABEL_HOSTNAME],
  ["hostname", LABEL_HOSTNAME],
  ["arch", "kubernetes.io/arch"],
  ["os", "kubernetes.io/os"],
  ["type", LABEL_INSTANCE_TYPE],
  ["pool", LABEL_NODEPOOL],
]);

export function labelOf(key: string): string {
  return SHORT.get(key) ?? key;
}

/** Back again, for what people read. */
export function shortOf(label: string): string {
  for (const [key, real] of SHORT) if (real === label) return key;
  return label;
}

export function labelsOfShort(labels: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(labels).map(([key, value]) => [labelOf(key), value]));
}
