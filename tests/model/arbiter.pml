/* arbiter.pml - the words through which one core is handed from application to
 * application (src/arbiter/abi.h), and every order in which they can be written and read.
 *
 * The core is nobody's home core. The arbiter grants, revokes and sees who has left, a
 * pass at a time; an application's worker comes, works, leaves when it is revoked or
 * finds nothing, and sleeps on its command. Checked:
 *
 *   - at no time do two workers run on the core (`inside`);
 *   - no grant is lost: when nothing moves any more, every worker whose command is
 *     GRANTED or NEXT has answered that epoch, present or away.
 *
 * As in the code: before the owner is told, its heir's command is NEXT, which says after
 * whom; the owner writes that it has left where all can see it (`left`), and wakes the
 * heir. The arbiter makes it GRANTED, and wakes it again, when it sees that the owner has
 * left. The model can fail:
 *
 *   -DONE_WAKE   without that second wake-up a grant is lost: the owner leaves before it
 *                knows its heir, or the heir was not asleep yet
 *   -DNO_NEXT    with GRANTED instead of NEXT two are inside: an heir that is just on its
 *                way to sleep finds it (which is how this protocol began)
 *   -DNO_ANSWER  if a worker does not answer a grant that was revoked before it woke
 *   -DNO_ORDER   if a worker says that it is away before it is
 *
 * With -DKEEP a worker that finds nothing may come back (CoreCommand::keep), a few times,
 * and the arbiter revokes before it believes that a core was left. A signal goes on until
 * it is heard, as the arbiter's reminders do. Two are inside
 *
 *   -DKEEP_LEFT  if who keeps its core says to an heir that it has left, which may be told
 *                of by then while its command is not revoked yet
 *   -DNO_LOOK    if who comes back does not look at its command after it has said so
 *   -DNO_RECALL  if the arbiter hands on what was left without a word
 *
 * Steps are single reads and writes, so this is what sequential consistency allows; the
 * code's acquire and release on `word` and `presence` are what it needs of that: who sees
 * the other's word sees what came before it. */

#define APPS 2
#ifdef KEEP
#define PASSES 4
#else
#define PASSES 6      /* Of the arbiter; epochs do not wrap. */
#endif
#define NOBODY 255
#define RETURNS 2     /* Of a worker to a core that it keeps. */

mtype = { AWAY, GRANTED, NEXT, REVOKED };

/* The board: written by the arbiter. */
byte epoch[APPS];
mtype command[APPS] = AWAY;
byte heir[APPS] = NOBODY;
byte after[APPS];       /* Of NEXT: the epoch of the other one that must have left. */

/* The signals: written by the applications. */
byte seen_epoch[APPS];
bool present[APPS];

/* Of the core: written by whoever leaves. */
byte left_app = NOBODY;
byte left_epoch;

/* The futexes: who sleeps on its command, and is not woken yet. */
bool sleeps[APPS];

/* For the checks. */
byte inside;
bool over;

inline wake(app) { sleeps[app] = false }

#define TAKEN(app, by) (epoch[app] != by || command[app] == REVOKED || command[app] == AWAY)

proctype Worker(byte me) {
  byte word_epoch = 0;    /* By which it had the core last. */
  byte read_epoch;
  mtype read_command;
  byte next;
#ifdef KEEP
  byte returns = 0;
#endif

away:
  /* Both are one word. */
  atomic { read_epoch = epoch[me]; read_command = command[me] }
  if
  :: read_command == GRANTED && read_epoch != word_epoch -> goto come
  :: read_command == NEXT && read_epoch != word_epoch ->
     if
     :: atomic { left_app == 1 - me && left_epoch == after[me] -> goto come }
     :: else
     fi
#ifndef NO_ANSWER
  :: read_command == REVOKED && read_epoch != word_epoch ->
     /* It was granted and revoked before this one knew. */
     word_epoch = read_epoch;
     goto leave
#endif
  :: else
  fi;
  /* futex_wait: compares and sleeps in one step. */
  atomic {
    if
    :: read_epoch == epoch[me] && read_command == command[me] -> sleeps[me] = true
    :: else
    fi
  }
  !sleeps[me];   /* Woken. Spurious wake-ups find the command as it was. */
  goto away;

come:
  word_epoch = read_epoch;
  atomic { seen_epoch[me] = word_epoch; present[me] = true }
work:
  inside++;
  assert(inside <= 1);
  /* Works for as long as it likes, and longer; then it is revoked or finds nothing. */
  if
  :: command[me] == REVOKED
  :: true
  fi;
#ifdef NO_ORDER
  atomic { seen_epoch[me] = word_epoch; present[me] = false }
#endif
  inside--;
#ifdef KEEP
  if
  :: returns < RETURNS ->
     returns++;
     atomic { seen_epoch[me] = word_epoch; present[me] = false }
#ifdef KEEP_LEFT
     atomic { left_app = me; left_epoch = word_epoch }
#endif
     /* Parked, after one more look, until it has work or is signalled. */
     if
     :: true
     :: TAKEN(me, word_epoch)
     fi;
     if
     :: TAKEN(me, word_epoch) -> goto leave
     :: else
     fi;
     atomic { seen_epoch[me] = word_epoch; present[me] = true }
#ifndef NO_LOOK
     if
     :: TAKEN(me, word_epoch) -> goto leave
     :: else
     fi;
#endif
     goto work
  :: true
  fi;
#endif
leave:
  atomic {
    read_epoch = epoch[me]; read_command = command[me]; next = heir[me]
  }
#ifndef NO_ORDER
  atomic { seen_epoch[me] = word_epoch; present[me] = false }
#endif
  atomic { left_app = me; left_epoch = word_epoch }
  if
  :: read_command == REVOKED && read_epoch == word_epoch && next != NOBODY ->
     wake(next)
  :: else
  fi;
  goto away
}

/* What the arbiter alone knows. */
byte owner = NOBODY;
byte next_owner = NOBODY;
bool revoked;

inline grant(app, how) {
  /* One word. */
  atomic { epoch[app]++; command[app] = how }
}

#ifdef NO_RECALL
#define KEPT false
#elif defined(KEEP)
#define KEPT !revoked
#else
#define KEPT false
#endif
#define GONE (owner != NOBODY && seen_epoch[owner] == epoch[owner] && !present[owner])

inline release() {
  command[owner] = AWAY;
  owner = next_owner;
  next_owner = NOBODY;
  revoked = false;
#ifndef ONE_WAKE
  if
  :: owner != NOBODY -> command[owner] = GRANTED; wake(owner)
  :: else
  fi
#endif
}

proctype Arbiter() {
  byte pass = 0;
  byte app;
  do
  :: pass == PASSES -> break
  :: else ->
     pass++;
     if
     :: GONE && !(KEPT) -> release()
     :: else
     fi;
     /* A decision, or none. */
     if
     :: owner == NOBODY ->
        select(app : 0 .. (APPS - 1));
        owner = app;
        heir[app] = NOBODY;
        grant(app, GRANTED);
        wake(app)
     :: owner != NOBODY && !revoked ->
        app = 1 - owner;
        revoked = true;
        next_owner = app;
        heir[app] = NOBODY;
        after[app] = epoch[owner];
#ifdef NO_NEXT
        grant(app, GRANTED);
#else
        grant(app, NEXT);
#endif
        heir[owner] = app;
        command[owner] = REVOKED;
        wake(owner);
#ifdef KEEP
        /* Who is away need not be waited for. */
        if
        :: GONE -> release()
        :: else
        fi
#endif
#ifdef KEEP
     :: owner != NOBODY && !revoked ->
        /* For nobody: it may be kept no more. */
        revoked = true;
        heir[owner] = NOBODY;
        command[owner] = REVOKED;
        wake(owner);
        if
        :: GONE -> release()
        :: else
        fi
#endif
     :: true
     fi
  od;
  over = true;
  /* No more decisions, but it goes on looking. */
  do
  :: GONE && !(KEPT) -> release()
  od
}

/* When nothing moves any more. */
proctype Monitor() {
  timeout;
  assert(over);
  byte app;
  app = 0;
  do
  :: app == APPS -> break
  :: else ->
     /* A grant that was not answered: only an heir whose owner is there yet. */
     assert(!(command[app] == GRANTED || command[app] == NEXT) ||
            seen_epoch[app] == epoch[app] || inside == 1);
     app++
  od
}

init {
  atomic { run Worker(0); run Worker(1); run Arbiter(); run Monitor() }
}
