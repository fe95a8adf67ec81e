/** The log: lines on the standard error stream, from a level on. */

/** How urgent a line is. */
export type Level = 'debug' | 'info' | 'warning' | 'error' | 'critical';

/** The levels, the least urgent first. */
export const LEVELS: readonly Level[] = ['debug', 'info', 'warning', 'error', 'critical'];

/** Takes the lines of a gateway. */
export type Log = (level: Level, message: string) => void;

/** A log on the standard error stream, of lines of this level and above. */
export function stderrLog(from: Level): Log {
  const least = LEVELS.indexOf(from);
  return (level, message) => {
    if (LEVELS.indexOf(level) >= least) {
      process.stderr.write(`${level.toUpperCase()} ${message}\n`);
    }
  };
}

/** An error as one line of a log shows it, with its cause. */
export function described(error: unknown): string {
  if (!(error instanceof Error)) {
    return String(error);
  }
  const cause = error.cause === undefined ? '' : `: ${described(error.cause)}`;
  return `${error.name}: ${error.message}${cause}`;
}
