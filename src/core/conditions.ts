/** A condition as Kubernetes means it (metav1.Condition): one observed fact, with the reason and for people a message. */
export interface Condition {
  readonly type: string;
  readonly status: "True" | "False" | "Unknown";
  /** CamelCase, for programs. */
  readonly reason: string;
  readonly message: string;
  /** RFC 3339; when `status` last changed. */
  readonly lastTransitionTime: string;
  readonly observedGeneration?: number;
}

export type NewCondition = Omit<Condition, "lastTransitionTime">;

/**
 * The conditions with one of them set: the transition time moves only when the status does.
 * Returns the same array when nothing changed, so that callers can skip the write.
 */
export function withCondition(conditions: readonly Condition[] | undefined, next: NewCondition, now: Date): readonly Condition[] {
  const all = conditions ?? [];
  const before = all.find((one) => one.type === next.type);
  if (
    before &&
    before.status === next.status &&
    before.reason === next.reason &&
    before.message === next.message &&
    before.observedGeneration === next.observedGeneration
  ) {
    return all;
  }
  const lastTransitionTime = before && before.status === next.status ? before.lastTransitionTime : now.toISOString();
  const condition = { ...next, lastTransitionTime };
  return before ? all.map((one) => (one.type === next.type ? condition : one)) : [...all, condition];
}

export function condition(conditions: readonly Condition[] | undefined, type: string): Condition | undefined {
  return conditions?.find((one) => one.type === type);
}

export function isTrue(conditions: readonly Condition[] | undefined, type: string): boolean {
  return condition(conditions, type)?.status === "True";
}
