/** What the gateway puts before sw.js: the name of each file of the page → its digest. */
declare const FILES: Record<string, string>;
