/** The decision on a case, in the words of its scenario: what `-o json` prints and what is judged. */
export interface Outcome {
  readonly newNodes: readonly NewNode[];
  /** Nodes there were, with what is known of them. */
  readonly nodes: readonly NodeFacts[];
  /** Where pods go that waited, instance by instance. */
  readonly placements: readonly PlacedPod[];
  readonly pending: readonly PendingPods[];
  readonly actions: readonly Action[];
  /** Nodes that would go but may not, and what keeps them. */
  readonly held: readonly { readonly node: string; readonly reason: string }[];
  /** What the work budget left for the next round. */
  readonly leftOver: readonly string[];
}

/** A pod of a scenario: `w-2` is the third of `{id: w, n: 5}`; a gang's members carry its id. */
export interface PodName {
  readonly pod: string;
  readonly id: string;
  readonly gang?: string;
  readonly tenant?: string;
}

export interface PlacedPod extends PodName {
  readonly node: string;
  readonly fresh: boolean;
}

export interface NodeFacts {
  readonly node: string;
  /** Of the entry it comes from: `h` of `{id: h, n: 4}`. */
  readonly entry: string;
  readonly type: string;
  readonly pool?: string;
  readonly tenant?: string;
  /** `zone`, `rack`, `block`, `leaf`, `nvl` … by short name. */
  readonly place: Readonly<Record<string, string>>;
  /** Pods that run there, daemons left out. */
  readonly running: readonly PodName[];
}

export interface NewNode extends NodeFacts {
  /** `AwaitingHost`: its server is on its way out of other hands, or being wiped. */
  readonly state: "Launching" | "AwaitingHost";
  readonly readyInS?: number;
  /** A server of a catalog without hosts: it has no name of its own. */
  readonly unnamed: boolean;
}

export interface PendingPods {
  readonly pods: readonly PodName[];
  readonly tenant?: string;
  readonly reason: string;
  /** One line a machine class. */
  readonly details: readonly string[];
}

export interface Action {
  /** `delete`, `drain`, `wipe`, `give`, `claim`, `reinstall` … */
  readonly verb: string;
  readonly subject: string;
  /** What follows the subject: `to b`, `in place`, `when spare is initialised`. */
  readonly rest: string;
  readonly reason: string;
  /** Whom `give` serves, where it is said. */
  readonly tenant?: string;
  readonly from?: string;
  /** Pods that lose their place. */
  readonly pods: readonly string[];
}

export function textOf(action: Action): string {
  return [action.verb, action.subject, action.rest].filter((part) => part !== "").join(" ");
}
