/* native.pml - two agents, each of its core, and one thread that either may run
 * (src/native/cpu_agents.cc, src/native/roster.h), in every order of steps.
 *
 * The kernel's side: the thread's state, its sequence number, and the queue that its
 * messages go to. The world lets it block, wakes it, and takes it off its core; a wake-up's
 * message may come before the thread can run. Its side may also put it on a core by itself, and
 * says nothing of it. Checked:
 *
 *   - the thread is on one core, and an agent that puts it there has read all about it;
 *   - when nothing moves any more the thread is on a core if it can run, and what its home
 *     agent believes is true.
 *
 * The model can fail:
 *
 *   -DNO_SEQUENCE   if a commit does not compare the thread's number
 *   -DNO_PENDING    if a thread changes its queue while messages about it wait in the old one
 *   -DNO_RETRY      if a thread that cannot run yet is dropped instead of set aside
 *   -DNO_TELL       if who makes a thread wait wakes nobody
 *   -DNO_RECHECK    if an agent that goes to sleep does not look once more
 *
 * A domain's lock and a home core's lock are steps that nothing else comes between. */

#define EVENTS 5
#define NONE 2

mtype = { BLOCKED, RUNNABLE, ON };
mtype = { WAKE, BLOCK, PREEMPT };

/* The kernel's side. */
mtype state = BLOCKED;
byte core = NONE;
byte sequence;
byte queue;
chan messages[2] = [EVENTS + 1] of { mtype, byte };
bool early;
bool unasked;  /* It is on a core to which the kernel's side has put it by itself. */
byte events;

/* What the agents know. */
bool runnable;
byte on = NONE;
byte read_sequence;
bool waiting;
byte home;

bool busy;  /* The first core runs something else, from some time on. */
bool idle[2];
bool wake[2];

proctype World() {
  do
  :: events < EVENTS && state == BLOCKED && !early ->
     atomic {
       events++;
       sequence++;
       messages[queue]!WAKE, sequence;
       if
       :: state = RUNNABLE
       :: early = true
       fi
     }
  :: early -> atomic { early = false; state = RUNNABLE }
  :: !busy && core != 0 -> atomic { busy = (core != 0); wake[0] = true }
  :: events < EVENTS && state == ON ->
     atomic {
       if
       :: state == ON ->
          events++;
          sequence++;
          if
          :: state = BLOCKED; messages[queue]!BLOCK, sequence
          :: state = RUNNABLE; messages[queue]!PREEMPT, sequence
          fi;
          core = NONE;
          unasked = false
       :: else
       fi
     }
  :: events + 1 < EVENTS && state == RUNNABLE && !early ->
     atomic {
       if
       :: state == RUNNABLE -> events++; state = ON; unasked = true; core = 0
       :: else
       fi
     }
  od
}

inline tell(me) {
#ifndef NO_TELL
  if
  :: idle[1 - me] -> wake[1 - me] = true
  :: else
  fi
#else
  skip
#endif
}

/* One message, under the home core's lock. */
inline apply(me) {
  atomic {
    messages[me]?what, number;
    read_sequence = number;
    if
    :: what == BLOCK -> runnable = false; on = NONE
    :: else ->
       runnable = true;
       if
       :: what == PREEMPT -> on = NONE
       :: else
       fi;
       waiting = true
    fi
  }
  if
  :: what != BLOCK -> tell(me)
  :: else
  fi
}

proctype Agent(byte me) {
  mtype what;
  byte number;
  bool retry;
  bool mine;

look:
  idle[me] = false;
  wake[me] = false;
  retry = false;
  do
  :: nempty(messages[me]) -> apply(me)
  :: empty(messages[me]) -> break
  od;
  if
  :: on == me -> goto rest
  :: busy && me == 0 ->
     if
     :: waiting -> tell(me)
     :: else
     fi;
     goto sleep
  :: else
  fi;
  /* The policy's domain. */
  atomic { mine = waiting; waiting = false }
  if
  :: !mine -> goto rest
  :: else
  fi;
  /* The home core's lock; from another one the thread is taken over. */
  atomic {
    if
    :: !runnable -> mine = false
    :: runnable && home == me
    :: runnable && home != me ->
       if
#ifndef NO_PENDING
       :: nempty(messages[home]) -> waiting = true; wake[home] = true; mine = false; retry = true
       :: empty(messages[home]) && sequence != read_sequence ->
          waiting = true; wake[home] = true; mine = false; retry = true
       :: empty(messages[home]) && sequence == read_sequence -> queue = me; home = me
#else
       :: queue = me; home = me
#endif
       fi
    fi
  }
  if
  :: !mine -> goto rest
  :: else
  fi;
  /* The commit, and what becomes of it. */
  atomic {
    if
#ifndef NO_SEQUENCE
    :: sequence != read_sequence -> waiting = true; retry = true
    :: sequence == read_sequence && state != RUNNABLE ->
#else
    :: state != RUNNABLE ->
#endif
#ifndef NO_RETRY
       waiting = true;
#endif
       retry = true
#ifndef NO_SEQUENCE
    :: sequence == read_sequence && state == RUNNABLE ->
#else
    :: state == RUNNABLE ->
#endif
       assert(core == NONE);
       assert(on == NONE);
       state = ON;
       core = me;
       on = me
    fi
  }

rest:
  if
  :: retry -> goto look
  :: else
  fi;
  idle[me] = true;
#ifndef NO_RECHECK
  if
  :: waiting && on == NONE -> goto look
  :: else
  fi;
#endif

sleep:
  (nempty(messages[me]) || wake[me]);
  goto look
}

init {
  atomic { run World(); run Agent(0); run Agent(1) }
  timeout;
  /* Nothing moves any more. */
  assert(state != RUNNABLE);
  assert(unasked || (state == ON) == (on != NONE));
  assert(unasked || state != ON || on == core);
}
