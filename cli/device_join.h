/* The verb `join` of cradle-device: asks a join server over HTTP and reports. */
#pragma once

enum simdev_exit {
    SIMDEV_EXIT_AGREE = 0,
    SIMDEV_EXIT_ERROR = 1,    /* wrong use, or no usable answer */
    SIMDEV_EXIT_REFUSED = 2,  /* a ResultCode other than Success */
    SIMDEV_EXIT_DISAGREE = 3, /* the answer is of no use to the device or a server */
};

/** argv[0] is the verb. Returns an enum simdev_exit. */
int simdev_join_main(int argc, char **argv);
