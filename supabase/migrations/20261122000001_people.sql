-- facecluster: the people store, version 1. Apply once per project (SQL editor, or `supabase db push`), in one transaction.
--
-- What a curator says is kept as facts (kind, subject, object -> value) with an append-only log of every change; runs
-- of clustering are staged aside and shown by one pointer. Every write goes through fc_apply, all or nothing.
-- The reader of the code finds the same facts, decisions and runs in facecluster/model.py.

-- Programs that read the two tables of before go on reading views of the same names. The tables step aside, closed;
-- the next migration imports them.
do $$ declare t text; begin
  foreach t in array array['face_clusters', 'face_vector_clusters'] loop
    if exists (select from pg_class where oid = to_regclass('public.' || t) and relkind in ('r', 'p')) then
      execute format('alter table public.%I rename to %I', t, t || '_legacy');
      execute format('alter table public.%I enable row level security', t || '_legacy');
      execute format('revoke all on public.%I from public, anon, authenticated', t || '_legacy');
    end if;
  end loop; end $$;

-- Ids are compared and ordered byte by byte (collate "C"), as the program orders them: pages go by id.
create table public.fc_faces (               -- what is shown of a face; kept once, not per run
  user_id text not null, vector_id text collate "C" not null,
  image_url text not null, folder text not null, face_crop text not null, blur_score real,
  mark text not null,                        -- hash of the columns above: who sends it again sends it for nothing
  primary key (user_id, vector_id));

create table public.fc_facts (               -- the last value said of each key
  user_id text not null,
  kind text collate "C" not null check (kind in ('person', 'name', 'hidden', 'cover', 'merged_into', 'pin', 'not_person', 'link',
                                     'mark', 'live_run', 'run_name')),
  subject text collate "C" not null, object text collate "C" not null, value text not null,
  primary key (user_id, kind, subject, object));

create table public.fc_log (                 -- every change, in order; append-only
  user_id text not null, revision bigint not null, change_id uuid not null,
  at timestamptz not null, author text not null, title text not null, undoes bigint,
  n_erased int not null default 0, decisions jsonb not null,
  primary key (user_id, revision), unique (user_id, change_id));

create table public.fc_people (              -- derived from the facts, so that views need no recursion
  user_id text not null, cluster_id text collate "C" not null,
  is_there boolean not null, name text, is_hidden boolean not null, cover text collate "C",
  merged_into text collate "C", survivor text collate "C" not null,
  created_at timestamptz not null, updated_at timestamptz not null,
  primary key (user_id, cluster_id));

create table public.fc_runs (
  user_id text not null, run_id text collate "C" not null,
  status text not null check (status in ('building', 'ready', 'gone')),
  at timestamptz not null, author text not null, params jsonb not null, fingerprint text not null,
  reason jsonb not null, questions jsonb not null,
  n_faces int not null, n_people int not null, n_noise int not null,
  primary key (user_id, run_id));

-- No foreign key to fc_runs: rows come from fc_stage alone, which looks once a call, and a check a row is a third of
-- the time of staging.
create table public.fc_run_faces (
  user_id text not null, run_id text collate "C" not null, vector_id text collate "C" not null,
  owner text collate "C", label int not null, strength real not null,
  primary key (user_id, run_id, vector_id));
create index fc_run_faces_owner on public.fc_run_faces (user_id, run_id, owner);

create table public.fc_run_people (          -- the face that stands for a person, by the rule of the program
  user_id text not null, run_id text collate "C" not null, cluster_id text collate "C" not null,
  cover text collate "C" not null,
  primary key (user_id, run_id, cluster_id));

create table public.fc_live (                -- the one pointer: which run is shown
  user_id text primary key, run_id text collate "C" not null, switched_at timestamptz not null);

-- --- who asks -------------------------------------------------------------------------------------------------------

-- The subject of the token; for the service key, whose token has none, the user named to the function that runs.
create function public.fc_me() returns text language plpgsql stable set search_path = pg_catalog as $$
declare claims jsonb := nullif(current_setting('request.jwt.claims', true), '')::jsonb;
        subject text := coalesce(nullif(claims ->> 'sub', ''), nullif(current_setting('request.jwt.claim.sub', true), ''));
begin
  if subject is null and current_setting('role', true) = 'service_role' then
    subject := nullif(current_setting('fc.user', true), '');
  end if;
  return subject;
end $$;

-- Whose rows a function works on. A signed-in user is always themselves; only the service key may name a user.
create function public.fc_user(p_user text) returns text language plpgsql volatile set search_path = public, pg_temp as $$
declare claims jsonb := nullif(current_setting('request.jwt.claims', true), '')::jsonb;
        me text := coalesce(nullif(claims ->> 'sub', ''), nullif(current_setting('request.jwt.claim.sub', true), ''));
begin
  if me is not null then
    if p_user is not null and p_user <> me then
      raise exception 'FC403 {"why": "this token is another user''s"}' using errcode = '42501';
    end if;
  else
    if current_setting('role', true) is distinct from 'service_role' or coalesce(p_user, '') = '' then
      raise exception 'FC403 {"why": "the token names no user"}' using errcode = '42501';
    end if;
    me := p_user;
  end if;
  perform set_config('fc.user', me, true);
  return me;
end $$;

-- Forced: the owner of the tables, as whom the writing functions run, sees one user's rows too.
do $$ declare t text; begin
  foreach t in array array['fc_faces', 'fc_facts', 'fc_log', 'fc_people', 'fc_runs', 'fc_run_faces', 'fc_run_people', 'fc_live'] loop
    execute format('alter table public.%I enable row level security', t);
    execute format('alter table public.%I force row level security', t);
    execute format('create policy own on public.%I for all using (user_id = (select public.fc_me())) '
                   'with check (user_id = (select public.fc_me()))', t);
    execute format('revoke all on public.%I from public, anon, authenticated, service_role', t);
    execute format('grant select on public.%I to authenticated, service_role', t);
  end loop; end $$;

-- For everybody who could write, the owner too; erasing says so within its own transaction.
create function public.fc_refuse() returns trigger language plpgsql set search_path = pg_catalog as $$ begin
  if tg_op = 'UPDATE' and current_setting('fc.erasing', true) = 'on' then return null; end if;
  raise exception 'FC405 {"why": "the log is append-only"}' using errcode = 'FC405';
end $$;
create trigger fc_log_is_append_only before update or delete or truncate on public.fc_log
  for each statement execute function public.fc_refuse();

-- --- reading --------------------------------------------------------------------------------------------------------

create function public.fc_version() returns int language sql immutable set search_path = pg_catalog as 'select 1';

create function public.fc_doctor(p_user text default null) returns jsonb language plpgsql stable set search_path = public, pg_temp as $$
begin
  return jsonb_build_object(
    'version', fc_version(), 'now', clock_timestamp(), 'role', current_setting('role', true), 'subject', fc_me(),
    'user', p_user,
    'unforced', (select coalesce(jsonb_agg(relname order by relname), '[]') from pg_class
                 where relnamespace = 'public'::regnamespace and relname like 'fc\_%' and relkind = 'r'
                   and not (relrowsecurity and relforcerowsecurity)),
    'policies', (select count(*) from pg_policy
                 join pg_class c on c.oid = polrelid where c.relnamespace = 'public'::regnamespace and c.relname like 'fc\_%'));
end $$;

-- Those that read are stable, so all statements of a call see one moment: its revision and its rows belong together.
create function public.fc_head(p_user text default null) returns jsonb language plpgsql stable set search_path = public, pg_temp as $$
declare u text := fc_user(p_user);
begin
  return jsonb_build_object(
    'revision', (select coalesce(max(revision), 0) from fc_log where user_id = u),
    'live_run', (select run_id from fc_live where user_id = u));
end $$;

create function public.fc_facts(p_after jsonb default null, p_limit int default 1000, p_user text default null) returns jsonb
language plpgsql stable set search_path = public, pg_temp as $$
declare u text := fc_user(p_user);
        rows jsonb;
begin
  select coalesce(jsonb_agg(jsonb_build_array(kind, subject, object, value) order by kind, subject, object), '[]') into rows
    from (select * from fc_facts where user_id = u
            and (p_after is null or (kind, subject, object) > (p_after ->> 0, p_after ->> 1, p_after ->> 2))
          order by kind, subject, object limit least(p_limit, 1000)) page;
  return jsonb_build_object(
    'revision', (select coalesce(max(revision), 0) from fc_log where user_id = u),
    'count', case when p_after is null then (select count(*) from fc_facts where user_id = u) end,
    'rows', rows);
end $$;

create function public.fc_record(r fc_log) returns jsonb language sql stable set search_path = public, pg_temp as $$
  select jsonb_build_object('revision', r.revision, 'at', r.at, 'author', r.author, 'title', r.title, 'undoes', r.undoes,
                            'n_erased', r.n_erased, 'decisions', r.decisions) $$;

create function public.fc_changes(p_since bigint, p_user text default null) returns jsonb
language plpgsql stable set search_path = public, pg_temp as $$
declare u text := fc_user(p_user);
        records jsonb;
begin
  select coalesce(jsonb_agg(fc_record(page.r) order by page.revision), '[]') into records
    from (select log as r, revision, row_number() over w nth, sum(jsonb_array_length(decisions)) over w size
            from fc_log log where user_id = u and revision > p_since
          window w as (order by revision) limit 1000) page
   where nth = 1 or size <= 1000;
  return jsonb_build_object('revision', (select coalesce(max(revision), 0) from fc_log where user_id = u), 'records', records,
    -- A run of which somebody was erased is whole again once it is published again: under its id, which no decision tells.
    'live_faces', (select n_faces from fc_live join fc_runs using (user_id, run_id) where user_id = u));
end $$;

create function public.fc_history(p_limit int, p_before bigint default null, p_user text default null) returns jsonb
language plpgsql stable set search_path = public, pg_temp as $$
declare u text := fc_user(p_user);
begin
  return (select coalesce(jsonb_agg(fc_record(page) order by revision desc), '[]')
            from (select * from fc_log where user_id = u and (p_before is null or revision < p_before)
                  order by revision desc limit least(p_limit, 1000)) page);
end $$;

create function public.fc_runs(p_user text default null) returns jsonb
language plpgsql stable set search_path = public, pg_temp as $$
declare u text := fc_user(p_user);
begin
  return (select coalesce(jsonb_agg(jsonb_build_object('id', run_id, 'at', at, 'author', author, 'params', params,
                    'n_faces', n_faces, 'n_people', n_people, 'n_noise', n_noise) order by at desc, run_id), '[]')
            from fc_runs where user_id = u and status = 'ready');
end $$;

create function public.fc_run(p_run text, p_user text default null) returns jsonb
language plpgsql stable set search_path = public, pg_temp as $$
declare u text := fc_user(p_user);
        r fc_runs;
begin
  select * into r from fc_runs where user_id = u and run_id = p_run and status = 'ready';
  if not found then raise exception 'FC404 %', jsonb_build_object('run', p_run) using errcode = 'FC404'; end if;
  return jsonb_build_object(
    'params', r.params, 'fingerprint', r.fingerprint, 'reason', r.reason, 'questions', r.questions, 'n_faces', r.n_faces,
    -- where each page begins, so that pages can be read side by side
    'starts', (select coalesce(jsonb_agg(vector_id order by vector_id), '[]')
                 from (select vector_id, row_number() over (order by vector_id) nth
                         from fc_run_faces where user_id = u and run_id = p_run) numbered
                where nth % 1000 = 0));
end $$;

create function public.fc_run_faces(p_run text, p_after text default '', p_limit int default 1000, p_user text default null) returns jsonb
language plpgsql stable set search_path = public, pg_temp as $$
declare u text := fc_user(p_user);
begin
  return (select jsonb_build_object('v', coalesce(jsonb_agg(vector_id order by vector_id), '[]'),
                                    'o', coalesce(jsonb_agg(owner order by vector_id), '[]'),
                                    'l', coalesce(jsonb_agg(label order by vector_id), '[]'),
                                    's', coalesce(jsonb_agg(strength order by vector_id), '[]'))
            from (select * from fc_run_faces where user_id = u and run_id = p_run and vector_id > p_after
                  order by vector_id limit least(p_limit, 1000)) page);
end $$;

-- --- staging --------------------------------------------------------------------------------------------------------

create function public.fc_begin_run(p_run text, p jsonb, p_user text default null) returns jsonb
language plpgsql volatile security definer set search_path = public, pg_temp as $$
declare u text := fc_user(p_user);
        found_status text;
        is_short boolean;
begin
  insert into fc_runs (user_id, run_id, status, at, author, params, fingerprint, reason, questions, n_faces, n_people, n_noise)
    values (u, p_run, 'building', clock_timestamp(), p ->> 'author', p -> 'params', p ->> 'fingerprint', p -> 'reason',
            p -> 'questions', (p ->> 'n_faces')::int, (p ->> 'n_people')::int, (p ->> 'n_noise')::int)
    on conflict (user_id, run_id) do nothing;
  select status, (n_faces, n_people, n_noise) is distinct from
                 ((p ->> 'n_faces')::int, (p ->> 'n_people')::int, (p ->> 'n_noise')::int)
    into found_status, is_short from fc_runs where user_id = u and run_id = p_run for update;
  if found_status = 'ready' and is_short then  -- somebody was erased from it: it is staged beside itself, and takes its place
    perform fc_begin_run(p_run || ' whole', p, p_user);
    return '{"status": "mending"}';
  end if;
  if found_status = 'gone' then  -- let go of before, perhaps after somebody was erased from it, and published again
    delete from fc_run_faces where user_id = u and run_id = p_run;
    delete from fc_run_people where user_id = u and run_id = p_run;
    update fc_runs set status = 'building', at = clock_timestamp(), author = p ->> 'author', reason = p -> 'reason',
        questions = p -> 'questions', n_faces = (p ->> 'n_faces')::int, n_people = (p ->> 'n_people')::int,
        n_noise = (p ->> 'n_noise')::int
      where user_id = u and run_id = p_run;
    found_status := 'building';
  end if;
  if found_status = 'building' then
    insert into fc_run_people (user_id, run_id, cluster_id, cover)
      select u, p_run, key, value from jsonb_each_text(p -> 'covers')
      on conflict (user_id, run_id, cluster_id) do update set cover = excluded.cover;
  end if;
  return jsonb_build_object('status', found_status);
end $$;

-- Columns, not objects: half the bytes. Answers which faces are not known under these marks.
create function public.fc_stage(p_run text, p jsonb, p_user text default null) returns jsonb
language plpgsql volatile security definer set search_path = public, pg_temp as $$
declare u text := fc_user(p_user);
begin
  perform from fc_runs where user_id = u and run_id = p_run and status = 'building' for share;
  if not found then raise exception 'FC404 %', jsonb_build_object('run', p_run) using errcode = 'FC404'; end if;
  insert into fc_run_faces (user_id, run_id, vector_id, owner, label, strength)
    select u, p_run, v, o, l::int, s::real
      from rows from (jsonb_array_elements_text(p -> 'v'), jsonb_array_elements_text(p -> 'o'),
                      jsonb_array_elements_text(p -> 'l'), jsonb_array_elements_text(p -> 's')) as t(v, o, l, s)
    on conflict (user_id, run_id, vector_id)
      do update set owner = excluded.owner, label = excluded.label, strength = excluded.strength;
  return (select coalesce(jsonb_agg(t.v), '[]')
            from rows from (jsonb_array_elements_text(p -> 'v'), jsonb_array_elements_text(p -> 'm')) as t(v, m)
            left join fc_faces f on f.user_id = u and f.vector_id = t.v
           where f.mark is distinct from t.m);
end $$;

create function public.fc_know_faces(p jsonb, p_user text default null) returns int
language plpgsql volatile security definer set search_path = public, pg_temp as $$
declare u text := fc_user(p_user);
        n int;
begin
  insert into fc_faces (user_id, vector_id, image_url, folder, face_crop, blur_score, mark)
    select u, v, url, folder, crop, blur::real, m
      from rows from (jsonb_array_elements_text(p -> 'v'), jsonb_array_elements_text(p -> 'url'),
                      jsonb_array_elements_text(p -> 'folder'), jsonb_array_elements_text(p -> 'crop'),
                      jsonb_array_elements_text(p -> 'blur'), jsonb_array_elements_text(p -> 'm'))
             as t(v, url, folder, crop, blur, m)
    on conflict (user_id, vector_id) do update set image_url = excluded.image_url, folder = excluded.folder,
      face_crop = excluded.face_crop, blur_score = excluded.blur_score, mark = excluded.mark;
  get diagnostics n = row_count;
  return n;
end $$;

create function public.fc_discard_run(p_run text, p_user text default null) returns void
language plpgsql volatile security definer set search_path = public, pg_temp as $$
declare u text := fc_user(p_user);
begin
  update fc_runs set status = 'gone' where user_id = u and run_id = p_run and status = 'building';
end $$;

-- Rows of runs that are no longer kept, or that nobody finished within a day; a bounded number, so that a call stays short.
create function public.fc_prune(p_user text default null) returns int
language plpgsql volatile security definer set search_path = public, pg_temp as $$
declare u text := fc_user(p_user);
        n int;
begin
  update fc_runs set status = 'gone' where user_id = u and status = 'building' and at < clock_timestamp() - interval '1 day';
  delete from fc_run_faces where ctid = any (array(
    select f.ctid from fc_run_faces f join fc_runs r using (user_id, run_id)
     where f.user_id = u and r.status = 'gone' limit 20000));
  get diagnostics n = row_count;
  if n = 0 then
    delete from fc_run_people p using fc_runs r
      where p.user_id = u and r.user_id = u and r.run_id = p.run_id and r.status = 'gone';
    delete from fc_runs where user_id = u and status = 'gone';
  end if;
  return n;
end $$;

-- --- writing --------------------------------------------------------------------------------------------------------

-- The facts of a change, each decision checked against the value it was made on; a key may be spoken of more than once.
create function public.fc_write_facts(u text, p jsonb) returns void
language plpgsql volatile set search_path = public, pg_temp as $$
declare bad record;
begin
  select * into bad from (
    select said.*, case when nth = 1 then f.value else previous end as standing
      from (select d.*, lag(value) over w previous, row_number() over w nth
              from (select ord, x ->> 0 kind, x ->> 1 subject, x ->> 2 object, x ->> 3 value, x ->> 4 before
                      from jsonb_array_elements(p) with ordinality t(x, ord)) d
            window w as (partition by kind, subject, object order by ord)) said
      left join fc_facts f on f.user_id = u and f.kind = said.kind and f.subject = said.subject and f.object = said.object
  ) checked where standing is distinct from before order by ord limit 1;
  if found then
    raise exception 'FC409 %', jsonb_build_object('kind', bad.kind, 'subject', bad.subject, 'found', bad.standing,
      'before', bad.before, 'value', bad.value) using errcode = 'FC409';
  end if;
  delete from fc_facts f using jsonb_array_elements(p) t(x)
    where f.user_id = u and f.kind = x ->> 0 and f.subject = x ->> 1 and f.object = x ->> 2;
  insert into fc_facts (user_id, kind, subject, object, value)
    select u, kind, subject, object, value
      from (select distinct on (x ->> 0, x ->> 1, x ->> 2) x ->> 0 kind, x ->> 1 subject, x ->> 2 object, x ->> 3 value
              from jsonb_array_elements(p) with ordinality t(x, ord)
            order by x ->> 0, x ->> 1, x ->> 2, ord desc) last_said
     where value is not null;
end $$;

-- fc_people of the people that a change spoke of, and who everybody is after all merges.
create function public.fc_derive_people(u text, p jsonb, p_at timestamptz) returns void
language plpgsql volatile set search_path = public, pg_temp as $$
begin
  insert into fc_people (user_id, cluster_id, is_there, name, is_hidden, cover, merged_into, survivor, created_at, updated_at)
    select u, spoken_of.subject, person.value is not null, name.value, hidden.value is not null, cover.value, into_.value,
           spoken_of.subject, p_at, p_at
      from (select distinct x ->> 1 as subject from jsonb_array_elements(p) t(x)
             where x ->> 0 in ('person', 'name', 'hidden', 'cover', 'merged_into')) spoken_of
      left join fc_facts person on person.user_id = u and person.kind = 'person' and person.subject = spoken_of.subject
      left join fc_facts name on name.user_id = u and name.kind = 'name' and name.subject = spoken_of.subject
      left join fc_facts hidden on hidden.user_id = u and hidden.kind = 'hidden' and hidden.subject = spoken_of.subject
      left join fc_facts cover on cover.user_id = u and cover.kind = 'cover' and cover.subject = spoken_of.subject
      left join fc_facts into_ on into_.user_id = u and into_.kind = 'merged_into' and into_.subject = spoken_of.subject
    on conflict (user_id, cluster_id) do update set is_there = excluded.is_there, name = excluded.name,
      is_hidden = excluded.is_hidden, cover = excluded.cover, merged_into = excluded.merged_into, updated_at = p_at;
  if exists (select from jsonb_array_elements(p) t(x) where x ->> 0 = 'merged_into') then
    update fc_people set survivor = last_one.now_ from (
      with recursive chain as (
        select cluster_id, cluster_id as now_, 0 as depth from fc_people where user_id = u
        union all
        select chain.cluster_id, p.merged_into, depth + 1 from chain
          join fc_people p on p.user_id = u and p.cluster_id = chain.now_
         where p.merged_into is not null and depth < 1000)
      select distinct on (cluster_id) cluster_id, now_ from chain order by cluster_id, depth desc) last_one
     where fc_people.user_id = u and fc_people.cluster_id = last_one.cluster_id and survivor <> last_one.now_;
  end if;
end $$;

-- A staged run becomes one that can be shown, once it is whole.
create function public.fc_make_ready(u text, p_run text) returns void
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
  update fc_runs set run_id = p_run, status = 'ready', at = clock_timestamp() where user_id = u and run_id = r.run_id;
  -- A table that was just filled has no statistics until autovacuum comes by, and without them reading the views took
  -- 200 s instead of 0.3 at 100,000 faces.
  analyze fc_run_faces, fc_run_people, fc_people, fc_facts;
end $$;

-- The pointer follows the fact. With a new run, old ones go: five stay, the one shown now and the one shown before, and
-- every one with a name.
create function public.fc_point(u text, p_at timestamptz, p_is_new boolean) returns void
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
    from (select run_id, row_number() over (order by at desc, run_id) nth from fc_runs where user_id = u and status = 'ready') age
   where p_is_new and r.user_id = u and r.run_id = age.run_id and age.nth > 5
     and r.run_id is distinct from wanted and r.run_id is distinct from previous
     and not exists (select from fc_facts n where n.user_id = u and n.kind = 'run_name' and n.subject = r.run_id);
end $$;

-- Whether a decision names one of these faces and people; a run's id, a name or a mark may read like one and is none.
create function public.fc_names(kind text, subject text, object text, value text, before text, p_ids text[]) returns boolean
language sql immutable set search_path = pg_catalog as $$
  select kind not in ('live_run', 'run_name')
     and (subject = any (p_ids) or object = any (p_ids)
          or (kind in ('pin', 'cover', 'merged_into') and (coalesce(value = any (p_ids), false) or coalesce(before = any (p_ids), false)))) $$;

-- Nothing that names these faces and people stays: facts, rows of runs, decisions in the log, titles with their names.
create function public.fc_erase(u text, p_ids text[]) returns void
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
  perform set_config('fc.erasing', 'on', true);
  update fc_log l set
      decisions = kept.decisions,
      title = case when exists (select from unnest(names) n where position(n in l.title) > 0)
                   then 'A change about somebody who was erased' else l.title end
    from (select revision, (select coalesce(jsonb_agg(x order by nth), '[]') from jsonb_array_elements(o.decisions) with ordinality t(x, nth)
                             where not fc_names(x ->> 0, x ->> 1, x ->> 2, x ->> 3, x ->> 4, p_ids)) decisions
            from fc_log o where o.user_id = u) kept
   where l.user_id = u and l.revision = kept.revision;
  perform set_config('fc.erasing', 'off', true);
end $$;

-- The one write. All or nothing; the same id twice is one change.
create function public.fc_apply(p jsonb, p_user text default null) returns jsonb
language plpgsql volatile security definer set search_path = public, pg_temp as $$
declare u text := fc_user(p_user);
        now_ timestamptz;
        last_ fc_log;
        done bigint;
        erased text[] := array(select id from jsonb_array_elements_text(coalesce(p -> 'erased', '[]')) t(id) where id <> '');
begin
  perform pg_advisory_xact_lock(hashtextextended(u, 727));
  select revision into done from fc_log where user_id = u and change_id = (p ->> 'id')::uuid;
  if found then return jsonb_build_object('revision', done); end if;
  select * into last_ from fc_log where user_id = u order by revision desc limit 1;
  if coalesce(last_.revision, 0) <> (p ->> 'base')::bigint then
    raise exception 'FC409 %', jsonb_build_object('revision', coalesce(last_.revision, 0), 'base', (p ->> 'base')::bigint,
      'title', last_.title, 'author', last_.author) using errcode = 'FC409';
  end if;
  now_ := clock_timestamp();
  perform fc_write_facts(u, p -> 'decisions');
  perform fc_derive_people(u, p -> 'decisions', now_);
  if p ->> 'run' is not null then perform fc_make_ready(u, p ->> 'run'); end if;
  if p ->> 'run' is not null or exists (select from jsonb_array_elements(p -> 'decisions') t(x) where x ->> 0 = 'live_run') then
    perform fc_point(u, now_, p ->> 'run' is not null);
  end if;
  insert into fc_log (user_id, revision, change_id, at, author, title, undoes, n_erased, decisions)
    values (u, coalesce(last_.revision, 0) + 1, (p ->> 'id')::uuid, now_, p ->> 'author', p ->> 'title', (p ->> 'undoes')::bigint,
            cardinality(erased), p -> 'decisions');
  if cardinality(erased) > 0 then perform fc_erase(u, erased); end if;  -- from the record of this very change too
  return jsonb_build_object('revision', coalesce(last_.revision, 0) + 1);
end $$;

-- --- what other programs read ---------------------------------------------------------------------------------------

-- Whose each face is now: the pin, else the live run's owner, unless something said speaks against it
-- (`owners` in facecluster/row_state.py, in SQL).
create view public.fc_owned with (security_invoker = true) as
  select f.user_id, f.vector_id, p.cluster_id
    from fc_live l
    join fc_run_faces f on f.user_id = l.user_id and f.run_id = l.run_id
    left join fc_facts pin on pin.user_id = f.user_id and pin.kind = 'pin' and pin.subject = f.vector_id and pin.object = ''
    left join fc_people pinned on pinned.user_id = f.user_id and pinned.cluster_id = pin.value and pinned.is_there
    left join fc_people given on given.user_id = f.user_id and given.cluster_id = f.owner
    join fc_people p on p.user_id = f.user_id and p.cluster_id = coalesce(pinned.survivor, given.survivor) and p.is_there
   where not exists (select from fc_facts m where m.user_id = f.user_id and m.kind = 'mark' and m.subject = f.vector_id)
     and (pinned.cluster_id is not null or not exists (
       select from fc_facts n left join fc_people other on other.user_id = n.user_id and other.cluster_id = n.object
        where n.user_id = f.user_id and n.kind = 'not_person' and n.subject = f.vector_id
          and coalesce(other.survivor, n.object) = p.cluster_id))
  union all  -- faces that were confirmed and came after the live run
  select pin.user_id, pin.subject, p.cluster_id
    from fc_facts pin
    join fc_people pinned on pinned.user_id = pin.user_id and pinned.cluster_id = pin.value and pinned.is_there
    join fc_people p on p.user_id = pin.user_id and p.cluster_id = pinned.survivor and p.is_there
   where pin.kind = 'pin'
     and not exists (select from fc_facts m where m.user_id = pin.user_id and m.kind = 'mark' and m.subject = pin.subject)
     and not exists (select from fc_live l join fc_run_faces f on f.user_id = l.user_id and f.run_id = l.run_id
                      where l.user_id = pin.user_id and f.vector_id = pin.subject);

-- The two tables of before, column for column: clustered faces, and people who have some and are not hidden.
create view public.face_vector_clusters with (security_invoker = true) as
  select o.vector_id, o.cluster_id, o.user_id, f.image_url, f.folder, f.face_crop,
         (select switched_at from fc_live l where l.user_id = o.user_id) as updated_at
    from fc_owned o left join fc_faces f on f.user_id = o.user_id and f.vector_id = o.vector_id;

create view public.face_clusters with (security_invoker = true) as
  select p.cluster_id, p.user_id, f.face_crop as representative_face_crop, c.representative_vector_id, c.face_count, p.name,
         p.created_at, greatest(p.updated_at, (select switched_at from fc_live l where l.user_id = p.user_id)) as updated_at
    from (select o.user_id, o.cluster_id, count(*)::int as face_count,
                 coalesce(max(o.vector_id) filter (where o.vector_id = p.cover),
                          max(o.vector_id) filter (where o.vector_id = r.cover), min(o.vector_id)) as representative_vector_id
            from fc_owned o
            join fc_people p on p.user_id = o.user_id and p.cluster_id = o.cluster_id
            left join fc_live l on l.user_id = o.user_id
            left join fc_run_people r on r.user_id = o.user_id and r.run_id = l.run_id and r.cluster_id = o.cluster_id
           group by o.user_id, o.cluster_id) c
    join fc_people p on p.user_id = c.user_id and p.cluster_id = c.cluster_id and not p.is_hidden
    left join fc_faces f on f.user_id = c.user_id and f.vector_id = c.representative_vector_id;

-- --- who may do what ------------------------------------------------------------------------------------------------

do $$ declare f regprocedure; v text; begin
  foreach v in array array['fc_owned', 'face_vector_clusters', 'face_clusters'] loop
    execute format('revoke all on public.%I from public, anon, authenticated, service_role', v);
    execute format('grant select on public.%I to authenticated, service_role', v);
  end loop;
  -- Functions are callable by everybody unless said otherwise.
  for f in select oid::regprocedure from pg_proc where pronamespace = 'public'::regnamespace and proname like 'fc\_%' loop
    execute format('revoke all on function %s from public, anon, authenticated, service_role', f);
  end loop;
  for f in select oid::regprocedure from pg_proc where pronamespace = 'public'::regnamespace and proname in
    ('fc_me', 'fc_user', 'fc_version', 'fc_doctor', 'fc_head', 'fc_facts', 'fc_record', 'fc_changes', 'fc_history', 'fc_runs',
     'fc_run', 'fc_run_faces', 'fc_begin_run', 'fc_stage', 'fc_know_faces', 'fc_discard_run', 'fc_prune', 'fc_apply') loop
    execute format('grant execute on function %s to authenticated, service_role', f);
  end loop; end $$;

comment on function public.fc_version() is 'facecluster: version of the people store; `facecluster doctor` compares it';
