-- facecluster: erasing reaches runs that were never shown. A run that was staged and not published, or let go of and not
-- yet deleted, kept the reasons and questions about the faces of who was erased; and a publisher could go on staging it.

-- Nothing that names these faces and people stays: facts, rows of runs, decisions in the log, titles with their names.
create or replace function public.fc_erase(u text, p_ids text[]) returns void
language plpgsql volatile set search_path = public, pg_temp as $$
declare names text[];
begin
  select coalesce(array_agg(distinct said), '{}') into names from (
    select unnest(array[x ->> 3, x ->> 4]) said from fc_log, jsonb_array_elements(decisions) t(x)
     where user_id = u and x ->> 0 = 'name' and x ->> 1 = any (p_ids)) spoken where said <> '';
  delete from fc_facts where user_id = u and fc_names(kind, subject, object, value, null, p_ids);
  delete from fc_faces where user_id = u and vector_id = any (p_ids);
  delete from fc_people where user_id = u and cluster_id = any (p_ids);
  -- Whoever had such a cover or was merged into such a person is who the facts say now.
  perform fc_derive_people(u, (select coalesce(jsonb_agg(jsonb_build_array('merged_into', cluster_id)), '[]') from fc_people
                                where user_id = u and (cover = any (p_ids) or merged_into = any (p_ids))), clock_timestamp());
  delete from fc_run_faces where user_id = u and vector_id = any (p_ids);
  update fc_run_faces set owner = null where user_id = u and owner = any (p_ids);
  delete from fc_run_people where user_id = u and (cluster_id = any (p_ids) or cover = any (p_ids));
  update fc_runs r set
      n_faces = now_.n_faces, n_people = now_.n_people, n_noise = now_.n_noise, reason = r.reason - p_ids,
      questions = (select coalesce(jsonb_agg(q order by nth), '[]') from jsonb_array_elements(r.questions) with ordinality t(q, nth)
                    where not (q ->> 1 = any (p_ids) or coalesce(q ->> 2 = any (p_ids), false)))
    from (select run_id, (select count(*) from fc_run_faces f where f.user_id = u and f.run_id = o.run_id) n_faces,
                 (select count(distinct owner) from fc_run_faces f where f.user_id = u and f.run_id = o.run_id) n_people,
                 (select count(*) from fc_run_faces f where f.user_id = u and f.run_id = o.run_id and owner is null and label = -1) n_noise
            from fc_runs o where o.user_id = u and o.status = 'ready') now_
   where r.user_id = u and r.run_id = now_.run_id;
  -- A run that is being staged is of the faces before: nobody may finish it. Its rows go at the next fc_prune.
  update fc_runs set status = 'gone', reason = '{}', questions = '[]' where user_id = u and status <> 'ready';
  perform set_config('fc.erasing', 'on', true);
  update fc_log l set
      decisions = kept.decisions,
      title = case when exists (select from unnest(names) n where position(n in l.title) > 0)
                   then 'A change about somebody who was erased' else l.title end
    from (select revision, (select coalesce(jsonb_agg(x order by nth), '[]') from jsonb_array_elements(o.decisions) with ordinality t(x, nth)
                             where not fc_names(x ->> 0, x ->> 1, x ->> 2, x ->> 3, x ->> 4, p_ids)
                               -- In a change that spoke of them, their name was handed to whoever they were merged into.
                               and not (x ->> 0 = 'name' and coalesce(x ->> 3 = any (names) or x ->> 4 = any (names), false)
                                        and not exists (select from fc_facts f where f.user_id = u and f.kind = 'name' and f.subject = x ->> 1)
                                        and exists (select from jsonb_array_elements(o.decisions) s(y)
                                                     where fc_names(y ->> 0, y ->> 1, y ->> 2, y ->> 3, y ->> 4, p_ids)))) decisions
            from fc_log o where o.user_id = u) kept
   where l.user_id = u and l.revision = kept.revision;
  perform set_config('fc.erasing', 'off', true);
end $$;
