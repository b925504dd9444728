-- facecluster: imports the physical tables face_clusters and face_vector_clusters that a project may have had before, with
-- their names. The first migration has set them aside as *_legacy; without them this does nothing. Users who already have
-- changes in the new store are left alone. Once all is well: drop table face_clusters_legacy, face_vector_clusters_legacy.

do $import$
declare u text;
        run text;
        now_ timestamptz := clock_timestamp();
        decisions jsonb;
        n_people int;
begin
  if to_regclass('public.face_clusters_legacy') is null or to_regclass('public.face_vector_clusters_legacy') is null then
    return;
  end if;
  -- Rows as JSON: whatever type an id had, its text is the id.
  create temp table old_people on commit drop as
    select distinct on (r ->> 'user_id', r ->> 'cluster_id')
           r ->> 'user_id' as user_id, r ->> 'cluster_id' as cluster_id,
           nullif(left(btrim(regexp_replace(coalesce(r ->> 'name', ''), '[[:space:][:cntrl:]]+', ' ', 'g')), 200), '') as name,
           r ->> 'representative_vector_id' as cover, (r ->> 'created_at')::timestamptz as created_at
      from (select to_jsonb(t) r from public.face_clusters_legacy t) rows
     where r ->> 'user_id' <> '' and r ->> 'cluster_id' <> ''
     order by r ->> 'user_id', r ->> 'cluster_id', (r ->> 'name') is null;
  create temp table old_faces on commit drop as
    select distinct on (r ->> 'user_id', r ->> 'vector_id')
           r ->> 'user_id' as user_id, r ->> 'vector_id' as vector_id, nullif(r ->> 'cluster_id', '') as cluster_id,
           coalesce(r ->> 'image_url', '') as image_url, coalesce(r ->> 'folder', '') as folder, coalesce(r ->> 'face_crop', '') as face_crop
      from (select to_jsonb(t) r from public.face_vector_clusters_legacy t) rows
     where r ->> 'user_id' <> '' and r ->> 'vector_id' <> ''
     order by r ->> 'user_id', r ->> 'vector_id', (r ->> 'cluster_id') is null, r ->> 'cluster_id';

  for u in select user_id from old_people union select user_id from old_faces order by 1 loop
    perform set_config('request.jwt.claims', jsonb_build_object('sub', u)::text, true);  -- whose rows the policies let through
    continue when exists (select from public.fc_log where user_id = u);
    create temp table people_now on commit drop as
      select cluster_id, row_number() over (order by n desc, cluster_id collate "C") - 1 as label, name, cover,
             coalesce(created_at, now_) as created_at
        from (select cluster_id, count(f.vector_id) n from
                (select cluster_id from old_people where user_id = u union select cluster_id from old_faces where user_id = u and cluster_id is not null) ids
                left join (select * from old_faces where user_id = u) f using (cluster_id) group by cluster_id) counted
        left join (select * from old_people where user_id = u) p using (cluster_id);
    select count(distinct cluster_id) into n_people from old_faces where user_id = u;
    run := 'run-imported-' || left(md5((select coalesce(string_agg(vector_id || ' ' || coalesce(cluster_id, ''), ',' order by vector_id collate "C"), '')
                                          from old_faces where user_id = u)), 16);
    insert into public.fc_runs (user_id, run_id, status, at, author, params, fingerprint, reason, questions, n_faces, n_people, n_noise)
      select u, run, 'ready', now_, 'migration', '{"imported": true}', '', '{}', '[]', count(*), n_people,
             count(*) filter (where cluster_id is null)
        from old_faces where user_id = u;
    insert into public.fc_run_faces (user_id, run_id, vector_id, owner, label, strength)
      select u, run, f.vector_id, f.cluster_id, coalesce(p.label, -1), case when p.label is null then 0 else 1 end
        from old_faces f left join people_now p using (cluster_id) where f.user_id = u;
    insert into public.fc_run_people (user_id, run_id, cluster_id, cover)
      select u, run, cluster_id, cover from people_now where cover is not null;
    insert into public.fc_faces (user_id, vector_id, image_url, folder, face_crop, blur_score, mark)
      select u, vector_id, image_url, folder, face_crop, null, 'imported' from old_faces where user_id = u;
    insert into public.fc_people (user_id, cluster_id, is_there, name, is_hidden, cover, merged_into, survivor, created_at, updated_at)
      select u, cluster_id, true, name, false, null, null, cluster_id, created_at, now_ from people_now;
    insert into public.fc_facts (user_id, kind, subject, object, value)
      select u, 'person', cluster_id, '', '1' from people_now
      union all select u, 'name', cluster_id, '', name from people_now where name is not null
      union all select u, 'live_run', '', '', run;
    insert into public.fc_live values (u, run, now_);
    select jsonb_agg(jsonb_build_array(kind, subject, object, value, null) order by kind, subject) into decisions
      from public.fc_facts where user_id = u;
    insert into public.fc_log (user_id, revision, change_id, at, author, title, decisions)
      values (u, 1, md5(u || run)::uuid, now_, 'migration',
              format('Imported %s people from the tables there were', (select count(*) from people_now)), decisions);
    drop table people_now;
  end loop;
  perform set_config('request.jwt.claims', '', true);
end $import$;
