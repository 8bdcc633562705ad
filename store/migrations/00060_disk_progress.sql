-- How far a step is with each of the disks it works on at once: a JSON list; NULL when there is none.
ALTER TABLE progress ADD COLUMN disks TEXT;
