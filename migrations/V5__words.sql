-- Words that rows share: names of models, of tools, types of annotations, of 64 bytes at most. Numbered from 64 on, above the codes that
-- event types have or may get, in order of first appearance; at most 255: the writer knows them by heart, so that they need no index.
CREATE TABLE hw_word (id INTEGER PRIMARY KEY, text TEXT NOT NULL);
