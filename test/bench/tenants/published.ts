/** What others publish of themselves, none of it run here; where it says a range, the better end. */
const CREATE_MS: Readonly<Record<string, number>> = { kplane: 2_000, vCluster: 10_000, Kamaji: 16_000 };
const PLANE_MB: Readonly<Record<string, number>> = { kplane: 3, "kcp, an empty workspace": 7.8 };

/** Theirs over ours; above 1 is better. */
export function againstPublished(figures: Readonly<Record<string, number>>): Record<string, number> {
  const { createWarmP50Ms, createColdP50Ms, hibernatedMiB } = figures;
  const ratios: Record<string, number> = {};
  for (const [who, ms] of Object.entries(CREATE_MS)) {
    if (createWarmP50Ms) ratios[`create, warm, against ${who}'s ${ms / 1000} s (published, not run here)`] = ms / createWarmP50Ms;
    if (createColdP50Ms) ratios[`create, cold, against ${who}'s ${ms / 1000} s (published, not run here)`] = ms / createColdP50Ms;
  }
  for (const [who, mb] of Object.entries(PLANE_MB))
    if (hibernatedMiB && hibernatedMiB > 0)
      ratios[`memory asleep, against ${who}'s ${mb} MB (published, not run here)`] = mb / (hibernatedMiB * 1.048576);
  return ratios;
}
