-- What happened, to which file, and who asked: for the program. The text stays for people. Events of before have none of them.
ALTER TABLE boot_events ADD COLUMN kind TEXT NOT NULL DEFAULT '';
ALTER TABLE boot_events ADD COLUMN file TEXT NOT NULL DEFAULT '';
ALTER TABLE boot_events ADD COLUMN who TEXT NOT NULL DEFAULT '';
