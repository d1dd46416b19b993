/** How a child is judged ready. Without a probe it is ready when it runs. */
export type ReadyProbe =
  | {
      /** Answers 2xx. TLS by these files; the server's certificate must be the CA's, and for the URL's host. */
      readonly http: {
        readonly url: string;
        /** Dialled instead of the URL's host. */
        readonly socketPath?: string;
        readonly caFile?: string;
        readonly certFile?: string;
        readonly keyFile?: string;
      };
    }
  | { readonly tcp: string }
  | { readonly unix: string };

/** A process to keep running. Secrets belong in files or `env`, never in `command`. */
export interface ChildSpec {
  /** A file name: letters, digits, dot, dash, underscore. */
  readonly name: string;
  /** The executable (absolute path) and its arguments. */
  readonly command: readonly string[];
  /** The whole environment besides PATH and HOME. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Standard output and error. Rotated by size. */
  readonly logFile: string;
  readonly ready?: ReadyProbe;
  /** Seconds between SIGTERM and SIGKILL; 10 by default. */
  readonly stopTimeoutS?: number;
  /** Runs as this user (and the group of the same number unless `gid` says otherwise). */
  readonly uid?: number;
  readonly gid?: number;
  /** It is started as the supervisor is and becomes that user by itself: its program may be in a home that only root enters. */
  readonly becomesUser?: boolean;
  readonly argv0?: string;
  /** It runs apart from the host; `command` and `cwd` are paths of its own view then, `uid` and `gid` the cell's. */
  readonly cell?: CellPlace;
  /** What must pass before a cell that was woken counts as awake: after `ready`, or instead of it for what was frozen. */
  readonly awake?: ReadyProbe;
  /** Directories it needs; see {@link Grant}. Of a cell, its mounts say it. */
  readonly grants?: readonly Grant[];
  /** It may wake cells: the socket `run/wake.sock` is its group's. */
  readonly wakes?: boolean;
}

/**
 * A directory that is made if it is not there, and given away at each start: it gets the mode 2750, and files in one that is root's 0640.
 * What is made in it later has the same group.
 */
export interface Grant {
  readonly source: string;
  readonly owner: { readonly uid: number; readonly gid: number };
}

/** Something of the host that a cell sees. */
export interface CellMount {
  readonly source: string;
  /** Where the cell sees it. */
  readonly target: string;
  readonly writable?: boolean;
  /** It is a {@link Grant}. */
  readonly owner?: Grant["owner"];
}

/**
 * The place that the processes of one tenant share: a user, a cgroup, a network namespace with a loopback alone, and a file system
 * with what each was given. Made by `ironwright-native cell`, which says what it could not do in the child's log.
 */
export interface CellPlace {
  /** Also its cgroup's, so one machine has it once. */
  readonly name: string;
  /** The native program. Another path of it restarts nobody. */
  readonly native: string;
  readonly uid: number;
  readonly gid: number;
  /** The door, by `ironwright-native door`: started first, and frozen last. One a cell. */
  readonly holder: boolean;
  readonly limits?: { readonly cpuMillis?: number; readonly memoryBytes?: number; readonly pids?: number };
  readonly mounts: readonly CellMount[];
  /**
   * A Unix socket by which it is called, in a directory of its own, made at each start: both are root's, and the group may connect. The
   * child gets the listener as descriptor 3, and no way to put anything else in its place.
   */
  readonly listen?: { readonly socket: string; readonly gid: number };
}

export interface CellUsage {
  /** What its processes hold in memory of their own: files they map are shared, and gone when somebody needs the room. */
  readonly residentBytes: number;
  readonly swappedBytes: number;
  /** Charged to its cgroup: resident memory, the swap cache, files it read first, what the kernel keeps for it. */
  readonly chargedBytes: number;
  readonly cpuSeconds: number;
}

export interface CellState {
  readonly name: string;
  /** `mixed`: it is on its way, or a child of it failed. */
  readonly state: "awake" | "frozen" | "stopped" | "mixed";
  readonly children: readonly ChildStatus[];
}

export interface CellStatus extends CellState, CellUsage {}

export interface Slept extends CellUsage {
  readonly state: "frozen" | "stopped";
  /** Why it was stopped where freezing was asked for. */
  readonly reason?: string;
  readonly ms: number;
}

export interface Woken {
  readonly from: "awake" | "frozen" | "stopped";
  /** A frozen one did not answer and was started anew. */
  readonly cold: boolean;
  readonly reason?: string;
  readonly ms: number;
}

export interface SwapWanted {
  /** 0: none. */
  readonly bytes: number;
  /** The native program. */
  readonly native: string;
  /** `file`, when absent: in the data directory. `zram`: compressed memory of this host, which takes it as it fills. */
  readonly medium?: SwapMedium;
  /** Of a file. `prefer`, when absent: where this kernel cannot, it is in clear, and the status says so; `require`: there is none then. */
  readonly encryption?: SwapEncryption;
}

export type SwapMedium = "file" | "zram";
export type SwapEncryption = "prefer" | "require" | "off";

export interface SwapStatus {
  readonly on: boolean;
  /** Where it is on. `plain`: a file that holds tenants' memory in clear. */
  readonly kind?: "plain" | "encrypted" | "zram";
  readonly bytes: number;
  readonly usedBytes: number;
  /** Why there is none although it was asked for, or why it is not what was asked for: of that size, or encrypted. */
  readonly reason?: string;
}

export interface ChildStatus {
  readonly name: string;
  /** `frozen`: it takes no CPU and next to no memory, and goes on where it was when its cell is woken. */
  readonly state: "starting" | "running" | "backing-off" | "stopping" | "stopped" | "frozen";
  readonly ready: boolean;
  readonly pid?: number;
  readonly startedAt?: string;
  /** Recent ends: half of them are forgotten for each while that it is ready. */
  readonly restarts: number;
  /** Why it is not running, or why it last ended. */
  readonly reason?: string;
  /** Its last lines when it last ended. */
  readonly lastLog?: string;
  readonly nextTryAt?: string;
  readonly logFile: string;
}

/** A supervisor, seen through its socket. Every call throws IRW_SUPERVISOR_UNREACHABLE when nobody answers. */
export interface Supervisor {
  /** Makes the child run as the spec says. The same spec changes nothing; a changed one restarts it. */
  ensure(spec: ChildSpec): Promise<void>;
  /** @throws IRW_CHILD_NOT_READY with its last log lines */
  waitReady(name: string, options: { readonly timeoutMs: number; readonly signal?: AbortSignal }): Promise<void>;
  /** @param names of these alone; to look at all of them is dear where there are thousands */
  list(names?: readonly string[]): Promise<readonly ChildStatus[]>;
  /** Stops it and keeps its spec: it stays stopped until the next `ensure`. Resolves when it is gone. */
  stop(name: string): Promise<void>;
  /** Stops it and forgets it. A name nobody knows is success. */
  remove(name: string): Promise<void>;
  /** Its last log lines. */
  tail(name: string, lines: number): Promise<string>;
  /** What cgroups count of them is ten seconds old at most. */
  cells(): Promise<readonly CellStatus[]>;
  /** The same without what they use, which a process of its own has to look up for each of them. */
  cellStates(): Promise<readonly CellState[]>;
  /** Undefined when no child is in it. */
  cell(name: string): Promise<CellStatus | undefined>;
  /**
   * Stops the cell's processes in place and pushes their memory out to swap. Where there is no swap for it, its processes are ended, and
   * it is said why. Either way nothing of it runs until it is woken, also after a restart of the supervisor or the machine.
   * @param options `encrypted`: into swap of ours alone that is encrypted or in zram, and only where all of it has room there
   */
  freezeCell(name: string, options?: { readonly encrypted?: boolean }): Promise<Slept>;
  /** Ends its processes, and keeps what they were. */
  stopCell(name: string): Promise<Slept>;
  /**
   * Resolves when all its children are ready and its awake probes pass. What was frozen and does not answer within `thawMs` (15 s) is started
   * anew. Callers at the same time share one waking.
   * @throws IRW_CELL
   */
  wakeCell(name: string, options?: { readonly thawMs?: number }): Promise<Woken>;
  /**
   * Makes swap of ours this large; 0 takes it away. It stays until `shutdown`, and stays as it is while anybody's memory is in it. What
   * cannot be done is said in the answer.
   */
  keepSwap(wanted: SwapWanted): Promise<SwapStatus>;
  /** What swap of ours there is. */
  swap(): Promise<SwapStatus>;
  /** Stops all children, last started first, then the supervisor. Resolves when all are gone. */
  shutdown(): Promise<void>;
}
