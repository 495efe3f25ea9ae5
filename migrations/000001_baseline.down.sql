-- There is no way back from the baseline: before it there is no Unity, and
-- dropping its tables would lose every row. This file says so, because
-- golang-migrate takes a missing down file for one that has nothing to do,
-- and would report success.
DO $$
BEGIN
    RAISE EXCEPTION 'nothing comes before the baseline'
        USING HINT = 'Restore a backup into a new database, or drop this one by hand. '
            'Then tell golang-migrate that nothing was undone: force 1.';
END
$$;
