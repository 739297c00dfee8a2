// Types of messenger.js, the client for a page of one's own.

/** How a message of this user stands. `sent`: it has its number. */
export type State = "queued" | "sent" | "refused" | "unknown";

export interface Message {
  /** Its number in the conversation; null while it has none. */
  seq: number | null;
  from: string;
  /** The random id of its send. */
  key: string;
  body: string;
  /** ms since 1970 */
  time: number;
  state: State;
  /** So many messages before it can no longer be had. */
  missing: number;
  erased?: boolean;
  /** It is a change of the message with this number, which shows it; show no message for it. */
  changes?: number;
  /** The change whose text this is; 0: none. */
  version?: number;
  /** Why it could not be changed, the last time. */
  problem?: string;
  /** Why it is refused. */
  reason?: string;
}

/** How far the other user has received and read. */
export interface Mark {
  received: number;
  read: number;
}

export interface Contact {
  contact: string;
  /** The body of the last message. */
  last: string | null;
  latest: Message | null;
  /** ms since 1970; 0: no message is known */
  time: number;
  unread: number;
  mark: Mark;
  /** "online", "typing…", "last seen …" or "" */
  presence: string;
  /** There are messages of before this page. */
  earlier: boolean;
}

export interface Conversation {
  messages: Message[];
  /** There are some before these, here; older ones come by `older` of a sight. */
  earlier: boolean;
  /** So many come after these. */
  later: number;
  /** Nothing was said before. */
  whole: boolean;
  /** This client goes back no further. */
  deep: boolean;
  /** The last number that is here. */
  cursor: number;
  /** This user has read up to here. */
  read: number;
  unread: number;
  mark: Mark;
  presence: string;
  from: number | null;
}

export interface Picture {
  version: number;
  state: "connecting" | "online" | "waiting" | "stopped";
  /** Why it is stopped. */
  reason: string;
  /** What is wrong with this browser's disk, if anything is. */
  problem: string;
  /** Too many messages wait to be sent. */
  full: boolean;
  /** Whose conversation is open. */
  contact: string | null;
  from: number | null;
  /** The one written in last comes first. */
  contacts: Contact[];
  conversation: Conversation | null;
}

/** What a page looks at. */
export interface Sight {
  contact: string | null;
  /** The version of the last picture; -1: send one at once. */
  seen: number;
  /** The person has seen the messages up to this one; 0: none. */
  read: number;
  /** Older messages are wanted. */
  older: boolean;
  /** The first message wanted, of 300; null: the last 200. */
  from: number | null;
}

export interface Handlers {
  picture(picture: Picture): void;
  /** The answer to `find`; null: there is no such message. */
  found?(found: { contact: string; text: string; seq: number | null }): void;
  /** The device could not be opened, or not again. */
  failed?(reason: string): void;
  loggedOut?(): void;
}

export interface Messenger {
  readonly user: string;
  look(sight: Sight): void;
  /** Queues a message; false if too many wait. It is sent once, also after a crash. */
  send(contact: string, body: string): boolean;
  /** Gives the own message with this number a new text (empty: deletes it); false if too many wait. */
  change(contact: string, seq: number, body: string): boolean;
  /** Blocks a user (`is`), or no more; has them as a contact, or no more; declines their request. */
  decide(contact: string, kind: "blocked" | "contact" | "declined", is: boolean): void;
  /** The person is writing. */
  typing(contact: string): void;
  /** Looks for a text below the number `before` (null: in all). */
  find(contact: string, text: string, before: number | null): void;
  /** In all tabs. */
  logOut(): void;
}

export interface LoggedIn {
  user: string;
  token: string;
}

export class NoNetwork extends Error {}

/** Logs in by `POST url` of this page's origin. */
export function login(url: string, body: object): Promise<LoggedIn>;

/**
 * Opens the device that all tabs of this user share. `logIn` is asked at the start, when the token
 * ends, and when it was refused; it fails with NoNetwork while there is none. `last`: who was logged
 * in here last, and is shown without a network.
 */
export function openMessenger(
  logIn: () => Promise<LoggedIn>,
  on: Handlers,
  last?: string | null,
): Promise<Messenger>;
