/** Invisible characters and those that change the direction of text: shown by their code points. */
const UNSEEN = /[\p{Cc}\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]/gu;

/** Makes a text from outside safe to read: shortened, with invisible characters made visible. */
export function visible(text: string, mostUnits = 400): string {
  const cut = text.length > mostUnits ? `${text.slice(0, mostUnits)}…` : text;
  return cut.toWellFormed().replace(UNSEEN, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** `12s`, `4m02s`, `1h3m`. */
export function spokenTime(totalSeconds: number): string {
  const seconds = Math.max(0, Math.round(totalSeconds));
  if (seconds < 60) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60
    ? `${minutes}m${String(seconds % 60).padStart(2, '0')}s`
    : `${Math.floor(minutes / 60)}h${minutes % 60}m`;
}

/** `1 pod`, `2 pods`, `1,204 pods`. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count.toLocaleString('en')} ${count === 1 ? one : many}`;
}

/** The part of an ARN after `:role/`, by which people know a role. */
export function roleName(arn: string): string {
  const at = arn.indexOf(':role/');
  return at < 0 ? arn : arn.slice(at + ':role/'.length);
}

/** The first label of a node's name: the rest is the same for all nodes. */
export function shortNode(node: string): string {
  return /^[\d.]+$/.test(node) ? node : (node.split('.')[0] ?? node);
}

/** `14:03:27`, in the reader's time zone. */
export function clockTime(epochMs: number): string {
  return new Date(epochMs).toLocaleTimeString('en-GB');
}
