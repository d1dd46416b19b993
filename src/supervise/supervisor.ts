/** How a child is judged ready. Without a probe it is ready when it runs. */
export type ReadyProbe =
  | {
      /** Answers 2xx. TLS by these files; the server's certificate must be the CA's. */
      readonly http: { readonly url: string; readonly caFile?: string; readonly certFile?: string; readonly keyFile?: string };
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
  readonly argv0?: string;
}

export interface ChildStatus {
  readonly name: string;
  readonly state: "starting" | "running" | "backing-off" | "stopping" | "stopped";
  readonly ready: boolean;
  readonly pid?: number;
  readonly startedAt?: string;
  /** Ends since it was last ready for a while. */
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
  list(): Promise<readonly ChildStatus[]>;
  /** Stops it and keeps its spec: it stays stopped until the next `ensure`. Resolves when it is gone. */
  stop(name: string): Promise<void>;
  /** Stops it and forgets it. A name nobody knows is success. */
  remove(name: string): Promise<void>;
  /** Its last log lines. */
  tail(name: string, lines: number): Promise<string>;
  /** Stops all children, last started first, then the supervisor. Resolves when all are gone. */
  shutdown(): Promise<void>;
}
