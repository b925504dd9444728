-- facecluster: runs are in the order of the changes that published them. They were in that of the database's clock, which
-- may be set back: a run that was just published then stood behind older ones, and was let go of before them.

-- The change that published it; null for a run from before this migration, which is older than any with a number.
alter table public.fc_runs add column if not exists revision bigint;

create or replace function public.fc_runs(p_user text default null) returns jsonb
language plpgsql stable set search_path = public, pg_temp as $$
declare u text := fc_user(p_user);
begin
  return (select coalesce(jsonb_agg(jsonb_build_object('id', run_id, 'at', at, 'author', author, 'params', params,
                    'n_faces', n_faces, 'n_people', n_people, 'n_noise', n_noise) order by revision desc nulls last, at desc, run_id), '[]')
            from fc_runs where user_id = u and status = 'ready');
end $$;

-- A staged run becomes one that can be shown, once it is whole.
create or replace function public.fc_make_ready(u text, p_run text) returns void
language plpgsql volatile set search_path = public, pg_temp as $$
declare r fc_runs;
        faces int; people int; noise int;
begin
  select * into r from fc_runs where user_id = u and run_id in (p_run, p_run || ' whole') and status = 'building'
    order by run_id limit 1 for update;  -- what is left of a mending that ended halfway comes second
  if not found then
    if exists (select from fc_runs where user_id = u and run_id = p_run and status = 'ready') then
      return;  -- the id is the content: publishing it again only moves the pointer
    end if;
    raise exception 'FC404 %', jsonb_build_object('run', p_run) using errcode = 'FC404';
  end if;
  select count(*), count(distinct owner), count(*) filter (where owner is null and label = -1) into faces, people, noise
    from fc_run_faces where user_id = u and run_id = r.run_id;
  if (faces, people, noise) is distinct from (r.n_faces, r.n_people, r.n_noise) then
    raise exception 'FC422 %', jsonb_build_object('run', p_run, 'faces', faces, 'of_faces', r.n_faces, 'people', people,
      'of_people', r.n_people, 'noise', noise, 'of_noise', r.n_noise) using errcode = 'FC422';
  end if;
  if r.run_id <> p_run then
    delete from fc_run_faces where user_id = u and run_id = p_run;
    delete from fc_run_people where user_id = u and run_id = p_run;
    delete from fc_runs where user_id = u and run_id = p_run;
    update fc_run_faces set run_id = p_run where user_id = u and run_id = r.run_id;
    update fc_run_people set run_id = p_run where user_id = u and run_id = r.run_id;
  end if;
  update fc_runs set run_id = p_run, status = 'ready', at = clock_timestamp(),
      revision = (select coalesce(max(l.revision), 0) + 1 from fc_log l where l.user_id = u)  -- which is about to be written
    where user_id = u and run_id = r.run_id;
  -- A table that was just filled has no statistics until autovacuum comes by, and without them reading the views took
  -- 200 s instead of 0.3 at 100,000 faces.
  analyze fc_run_faces, fc_run_people, fc_people, fc_facts;
end $$;

-- The pointer follows the fact. With a new run, old ones go: five stay, the one shown now and the one shown before, and
-- every one with a name.
create or replace function public.fc_point(u text, p_at timestamptz, p_is_new boolean) returns void
language plpgsql volatile set search_path = public, pg_temp as $$
declare wanted text;
        previous text;
begin
  select value into wanted from fc_facts where user_id = u and kind = 'live_run' and subject = '' and object = '';
  select run_id into previous from fc_live where user_id = u;
  if wanted is null then
    delete from fc_live where user_id = u;
  elsif wanted is distinct from previous then
    if not exists (select from fc_runs where user_id = u and run_id = wanted and status = 'ready') then
      raise exception 'FC410 %', jsonb_build_object('run', wanted) using errcode = 'FC410';
    end if;
    insert into fc_live values (u, wanted, p_at)
      on conflict (user_id) do update set run_id = excluded.run_id, switched_at = excluded.switched_at;
  end if;
  update fc_runs r set status = 'gone'
    from (select run_id, row_number() over (order by revision desc nulls last, at desc, run_id) nth
            from fc_runs where user_id = u and status = 'ready') age
   where p_is_new and r.user_id = u and r.run_id = age.run_id and age.nth > 5
     and r.run_id is distinct from wanted and r.run_id is distinct from previous
     and not exists (select from fc_facts n where n.user_id = u and n.kind = 'run_name' and n.subject = r.run_id);
end $$;
