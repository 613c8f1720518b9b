/* What a chunk of a job that a service does by itself comes to. */
#pragma once

enum job_run_outcome {
    RUN_GOES_ON = 0,
    RUN_ENDED = 1, /* done, or cancelled: the job's state says which */
    RUN_LOST = 2,  /* somebody else has taken it */
};
