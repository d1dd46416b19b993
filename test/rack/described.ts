/** What `kubectl describe machine` has to tell of a machine that was had once: how it stands, each step, and each turn with its reason. */
const TOLD: Readonly<Record<string, readonly string[]>> = {
  Conditions: ["BMCReachable", "CredentialsValid", "Inspected", "Ready"],
  History: [
    ...["inspect begins", "install begins", "partition", "write-image", "boot-own-disk", "gpu-gate", "credential", "node-ready", "InUse"],
    ...["release begins", "revoke", "wipe", "read-back"],
  ],
  Events: ["InspectBegins", "Available", "InstallBegins", "Installed", "Joined", "ReleaseBegins", "Released"],
};

/** Of that, what the text lacks, each with the heading it belongs below. */
export function untoldOf(text: string): readonly string[] {
  return Object.entries(TOLD).flatMap(([heading, words]) => {
    const told = sectionOf(text, heading);
    return words.filter((word) => !told.includes(word)).map((word) => `${heading}: ${word}`);
  });
}

/** The lines below a heading that are set further in than it is. */
function sectionOf(text: string, heading: string): string {
  const lines = text.split("\n");
  const depth = (line: string) => line.search(/\S/);
  const at = lines.findIndex((line) => line.trim() === `${heading}:`);
  const below = lines.slice(at + 1);
  const end = below.findIndex((line) => depth(line) >= 0 && depth(line) <= depth(lines[at] ?? ""));
  return at < 0 ? "" : below.slice(0, end < 0 ? undefined : end).join("\n");
}
